"""Reading rows of a release: filters, SQL, earlier versions."""
