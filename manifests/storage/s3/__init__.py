"""Releases in S3: conditional puts, patience, streams, and what a server's errors mean."""
