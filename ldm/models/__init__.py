"""Models on disk and loaded: their folder, description and card, and how they sample."""
