"""A measured covariate on all asked ones: known effects are found, and intervals hold them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.evaluation.responses import response


def covariates(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    age = rng.uniform(size=n)
    return {"age": age, "size": 0.7 * age + 0.3 * rng.uniform(size=n)}


def test_effects_that_come_together_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    asked = covariates(rng, 500)
    measured = 10 + 3 * asked["age"] - 5 * asked["size"] + 0.2 * rng.standard_normal(500)
    found = response(asked, measured)
    assert found.effects["age"].value == pytest.approx(3, abs=0.15)
    assert found.effects["size"].value == pytest.approx(-5, abs=0.2)
    assert found.constant.value == pytest.approx(10, abs=0.1)
    assert found.scatter == pytest.approx(0.2, rel=0.1)
    told = json.loads(json.dumps(found.to_json()))
    assert told["effects"]["size"]["n"] == told["n"] == 500


def test_intervals_hold_the_truth_as_often_as_they_say_where_scatter_is_uneven() -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(600):
        asked = covariates(rng, 40)
        scatter = (0.1 + 2 * asked["age"] ** 2) * rng.standard_normal(40)
        effect = response(asked, 2 * asked["age"] + scatter).effects["age"]
        held.append(effect.low < 2 < effect.high)
    assert 0.92 < np.mean(held) < 0.98


@pytest.mark.parametrize(
    ("n", "twice", "words"),
    [(5, False, "measured: found 5, expected at least 6"), (20, True, "follows from the others")],
)
def test_what_cannot_be_told_is_refused(n: int, twice: bool, words: str) -> None:
    asked = covariates(np.random.default_rng(2), n)
    if twice:
        asked["size"] = 2 * asked["age"]
    with pytest.raises(LdmError, match=words):
        response(asked, np.arange(n, dtype=float))
