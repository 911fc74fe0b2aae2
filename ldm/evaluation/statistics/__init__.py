"""The statistics that evaluations rest on: intervals, ranks, neighbours."""
