"""The report of an evaluation: its sections, pictures and pages."""
