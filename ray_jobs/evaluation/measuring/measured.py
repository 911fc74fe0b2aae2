"""What was measured of a source: a table of its volumes, and one of its pairs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

TRAIN, HELD_OUT = "train", "validation"  # groups of a real cohort's rows


@dataclass(kw_only=True)
class Measured:
    """What was measured of a source: its volumes' rows, those refused apart, and its pairs."""

    rows: pd.DataFrame
    pairs: pd.DataFrame

    def __post_init__(self) -> None:
        self.refused = self.rows[self.rows["error"] != ""]
        self.whole = self.rows[self.rows["error"] == ""].reset_index(drop=True)

    def of(self, group: str) -> pd.DataFrame:
        """The whole rows of one group."""
        return self.whole[self.whole["group"] == group].reset_index(drop=True)
