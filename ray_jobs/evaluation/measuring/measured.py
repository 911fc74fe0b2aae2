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


def having(rows: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The volumes that have those covariates: of an unconditional model none, of a cohort those
    subjects who lack none of them."""
    if not set(names) <= set(rows):
        return rows.iloc[:0]
    return rows.dropna(subset=list(names)).reset_index(drop=True)


def all_have(rows: pd.DataFrame, *names: str) -> bool:
    """Whether every volume has those covariates; those of an unconditional model have none."""
    return all(name in rows and not rows[name].isna().any() for name in names)
