"""The jobs of brainpress, each a verb of the command line: the only package that knows Ray."""
