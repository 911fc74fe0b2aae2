"""Measurements and pictures that take minutes; run by hand, never by `make test`."""
