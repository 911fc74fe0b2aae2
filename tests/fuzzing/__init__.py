"""Valid files broken in every way, and the readers that must answer each with a line of ours."""
