"""Whether a figure rests on enough volumes: the one rule, and where each threshold is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Below it the 95 % interval itself holds less. Measured, 1,500 samples each: the BCa interval of a
# mean of normal and of exponential values holds the truth in 90 and 87 % of samples of 10, 91 and
# 90 % of 20, 94 and 92 % of 30, 95 and 94 % of 50.
FEWEST = 30
# The Fréchet distance of two samples of one distribution should be 0. Measured on the segmenter's
# 208 features of 148 people of IXI: two of their own sets are 173 apart at n = 10, 77 at 32, 60 at
# 50 and 37 at 74. Of normal values of that covariance it falls to 11 at n = 208 (below that the
# covariance is singular), 2.2 at five samples a feature and 1.2 at ten, 0.6 % of all variance.
SAMPLES_A_FEATURE = 10
WIDE = 0.5  # the interval's width over the figure, where that is a distance or a ratio
WIDE_SHARE = 0.2  # the interval's width, of what lies between 0 and 1 or -1 and 1
SCALED = ("ratio", "slope", "fid", "half")
BOUNDED = ("r", "accuracy", "auc", "precision", "recall", "coverage", "membership", "told_apart")
MEANINGS = {
    "biased": "a Fréchet distance of too few volumes for its features is too large whatever they "
    "show: compare it at equal n alone (the ratio), and never with that of another report",
    "few": f"an interval of fewer than {FEWEST} is narrower than it says",
    "wide": "the interval is wider than half the figure, or than 0.2 of a share or correlation: "
    "its digits say little",
}


def caution(figure: Mapping[str, Any], kind: str, dimensions: int | None = None) -> str:
    """What a reader must know beside a figure, in a few words that begin with a key of `MEANINGS`;
    empty where nothing is amiss.

    Args:
        figure: as `Estimate.to_json` and `Frechet.to_json` give it: value, low, high, n, perhaps
            n_reference.
        kind: what it is; of those in `SCALED` and `BOUNDED` the interval's width counts.
        dimensions: of a Fréchet distance, how many features it is of.
    """
    if figure.get("value") is None or figure.get("n") is None:
        return ""
    n = min(one for one in (figure["n"], figure.get("n_reference")) if one is not None)
    if dimensions and n < SAMPLES_A_FEATURE * dimensions:
        return f"biased: {n:,} for {dimensions:,} features"
    if n < FEWEST:
        return f"few: {n}"
    return "wide" if _is_wide(figure, kind) else ""


def _is_wide(figure: Mapping[str, Any], kind: str) -> bool:
    if figure.get("low") is None or figure.get("high") is None:
        return False
    width = float(figure["high"] - figure["low"])
    if kind in BOUNDED:
        return width > WIDE_SHARE
    return kind in SCALED and width > WIDE * abs(float(figure["value"]))
