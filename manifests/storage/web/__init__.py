"""Releases that anyone may read: on web servers, in Google's and Azure's buckets, on the Hub."""
