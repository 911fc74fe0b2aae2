"""What `publish` asks of a person, what it refuses to open, and opening to strangers."""
