"""Tests of the release: its format, its ledger, where it lies, and how it is read back."""
