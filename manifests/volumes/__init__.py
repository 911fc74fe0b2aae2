"""The images of a release: downloading, streaming to a training loop, shards."""
