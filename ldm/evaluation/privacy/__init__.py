"""The privacy audit: whether a model's volumes lie too near to the people it was trained on."""
