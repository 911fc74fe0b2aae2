"""Pages of docs/ that are made from the code, and whether they still say what it does."""
