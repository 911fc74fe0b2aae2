"""Label maps of the images of a release, drawn on Ray."""
