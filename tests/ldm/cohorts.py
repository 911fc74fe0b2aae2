"""Cohorts that tests fit distributions to: the real one where it is present, and a made-up one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

_BESIDE = Path(__file__).parents[3] / "shared" / "data" / "ixi"


def real_cohort() -> pd.DataFrame:
    """The participants of the cohort in BRAINPRESS_TEST_COHORT, or beside the checkout."""
    table = Path(os.environ.get("BRAINPRESS_TEST_COHORT", _BESIDE)) / "participants.tsv"
    if not table.exists():
        pytest.skip(f"no real cohort at {table.parent} (set BRAINPRESS_TEST_COHORT)")
    return pd.read_csv(table, sep="\t")


def heavy_tailed_cohort(n: int = 300) -> pd.DataFrame:
    """Strong ties, few men, and ventricles whose largest are ten times the median."""
    rng = np.random.default_rng(20)
    sex = np.where(rng.random(n) < 0.3, "M", "F")
    age = rng.uniform(44, 82, n)
    ventricles = 15_000 * np.exp(0.03 * (age - 63) + 0.35 * rng.standard_t(3, n))
    ventricles *= np.where(sex == "M", 1.4, 1.0)
    brain = 1.5e6 - 6_000 * (age - 63) - 1.5 * ventricles + rng.normal(0, 40_000, n)
    return pd.DataFrame(
        {"sex": sex, "age": age, "ventricular_volume": ventricles, "brain_volume": brain}
    )
