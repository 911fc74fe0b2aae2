"""The consumer's verbs: each module has `add_arguments` and `run`."""
