"""Label maps beside the images of a release: a BIDS derivative, and a table of its volumes."""
