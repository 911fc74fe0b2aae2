"""docs/situations.md: files and tables as cohorts have them, made here, and what `prepare` says."""
