"""Train on synthetic volumes, test on real people: what they teach of age, and of tissue."""
