"""Beside a figure of too few volumes stands why it does not stand alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ldm.evaluation.distances import frechet_distance
from ldm.evaluation.statistics.enough import FEWEST, MEANINGS, SAMPLES_A_FEATURE, caution


def figure(value: float | None = 1.0, width: float = 0.01, n: int = 500, **more: Any) -> dict:
    if value is None:
        return {"value": None, "low": None, "high": None, "n": n}
    return {"value": value, "low": value - width / 2, "high": value + width / 2, "n": n, **more}


@pytest.mark.parametrize(
    ("found", "kind", "dimensions", "told"),
    [
        (figure(), "r", None, ""),
        (figure(n=FEWEST), "r", None, ""),
        (figure(n=FEWEST - 1), "r", None, "few: 29"),
        (figure(n_reference=17), "difference", None, "few: 17"),
        (figure(0.5, 0.21), "auc", None, "wide"),
        (figure(0.5, 0.19), "auc", None, ""),
        (figure(4.0, 2.1), "ratio", None, "wide"),
        (figure(4.0, 1.9), "ratio", None, ""),
        (figure(0.0, 3.0), "bias", None, ""),  # a difference may be nought
        (figure(n=32), "fid", 208, "biased: 32 for 208 features"),
        (figure(n=4000, n_reference=74), "fid", 208, "biased: 74 for 208 features"),
        (figure(n=208 * SAMPLES_A_FEATURE), "fid", 208, ""),
        (figure(None, n=4), "r", None, ""),
    ],
)
def test_a_caution_is_told_where_one_is_due(
    found: dict, kind: str, dimensions: int | None, told: str
) -> None:
    assert caution(found, kind, dimensions) == told
    assert not told or told.split(":")[0] in MEANINGS


def test_a_distance_is_biased_below_so_many_samples_a_feature_and_hardly_above() -> None:
    """Of two samples of one distribution it should be 0; in shares of the variance there is."""
    rng, dimensions = np.random.default_rng(0), 8

    def share(n: int) -> float:
        pairs = [rng.standard_normal((2, n, dimensions)) for _ in range(10)]
        return float(np.mean([frechet_distance(*pair).estimate.value for pair in pairs])) / 8

    few, many = share(dimensions), share(10 * SAMPLES_A_FEATURE * dimensions)
    assert few > 0.3
    assert share(SAMPLES_A_FEATURE * dimensions) < 0.1
    assert many < 0.01
