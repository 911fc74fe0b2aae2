"""What goes wrong, simulated and for real; run by hand, see README.md here."""
