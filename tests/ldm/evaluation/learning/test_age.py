"""Training on synthetic volumes and testing on real ones: answers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.evaluation.learning.age import transfer

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=12)


def people(count: int, *, noise: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features, and an age that they tell but for `noise` years."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 12))
    return features, 50 + 10 * features @ WEIGHTS / np.linalg.norm(WEIGHTS) + rng.normal(
        scale=noise, size=count
    )


def test_synthetic_people_like_the_real_ones_teach_as_much() -> None:
    found = transfer(*people(200, seed=1), *people(2000, seed=2))
    assert found.real.value == pytest.approx(3 * np.sqrt(2 / np.pi), rel=0.15)
    assert found.synthetic.value == pytest.approx(found.real.value, rel=0.1)
    assert found.constant.value > 2.5 * found.real.value
    assert found.trained_on == (180, 2000)
    assert found.to_json()["synthetic"]["n"] == 200


def test_volumes_that_do_not_show_what_was_asked_teach_nothing() -> None:
    features, ages = people(500, seed=2)
    found = transfer(*people(200, seed=1), features, np.random.default_rng(0).permutation(ages))
    assert found.synthetic.value > 0.9 * found.constant.value


def test_too_few_and_what_does_not_fit_is_told() -> None:
    real, ages = people(30)
    with pytest.raises(LdmError, match="30 real and 5 synthetic volumes: expected at least 20"):
        transfer(real, ages, real[:5], ages[:5])
    with pytest.raises(LdmError, match="synthetic has 3 features, real has 12"):
        transfer(real, ages, real[:, :3], ages)
