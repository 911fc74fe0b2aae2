"""All tests of brainpress, laid out as its packages are."""
