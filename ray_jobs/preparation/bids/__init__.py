"""A BIDS folder: who is in it, which images they have, what its tables say of them."""
