"""The format of a release: where things lie, schema, documents, and how Parquet is written."""
