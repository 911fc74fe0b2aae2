"""All tests of brainpress, laid out as its packages are."""

from __future__ import annotations

from pathlib import Path

# Of the checkout.
ROOT = Path(__file__).resolve().parents[1]
