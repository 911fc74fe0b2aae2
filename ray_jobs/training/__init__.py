"""Training on Ray: what a run is, the loop every worker runs, and the fit that survives deaths."""
