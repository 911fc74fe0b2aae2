"""Told apart: equal sets are not, blurred ones always are; intervals hold what they say."""

from __future__ import annotations

import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.evaluation.statistics import classifier
from ldm.evaluation.statistics.classifier import cross_validated, told_apart

D = 14
RNG = np.random.default_rng


def drawn(rng: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    """Figures that hang together, as those of neighbouring bands do; `shift` moves two."""
    root = np.linalg.cholesky(0.7 * np.ones((D, D)) + 0.3 * np.eye(D))
    moved = shift * (np.arange(D) < 2)
    return rng.standard_normal((count, D)) @ root.T + moved


@pytest.mark.parametrize(("positives", "negatives"), [(10, 10), (60, 12), (40, 40)])
def test_equal_sets_come_out_at_one_half_however_few(positives: int, negatives: int) -> None:
    rng = RNG(0)
    areas = [cross_validated(drawn(rng, positives), drawn(rng, negatives), rng) for _ in range(200)]
    assert np.mean(areas) == pytest.approx(0.5, abs=3 * np.std(areas) / np.sqrt(200))


def test_blurred_volumes_are_always_told_from_people_and_people_are_not() -> None:
    rng = RNG(1)
    blur = np.where(np.arange(D) < 7, np.linspace(0, -25, D), 0)  # tens of sd at the fine end
    found = told_apart(drawn(rng, 96) + blur, drawn(rng, 17), drawn(rng, 90))
    assert found.synthetic.value == 1
    assert 0.7 < found.synthetic.low < 1 == found.synthetic.high
    assert found.real.low < 0.5 < found.real.high < 0.75
    assert found.beyond_chance
    assert {(e.n, e.n_reference) for e in (found.synthetic, found.real)} == {(90, 17)}
    assert found.to_json()["beyond_chance"] is True
    same = told_apart(drawn(rng, 96), drawn(rng, 17), drawn(rng, 90))
    assert not same.beyond_chance


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_intervals_hold_the_truth_about_as_often_as_they_say(
    shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "SPLITS", 30)
    rng = RNG(2)
    found = [
        told_apart(drawn(rng, 40, shift), drawn(rng, 20), drawn(rng, 40), seed=i).synthetic
        for i in range(40)
    ]
    truth = 0.5 if shift == 0 else np.mean([one.value for one in found])
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.9


def test_units_do_not_matter_and_the_same_seed_gives_the_same() -> None:
    rng = RNG(3)
    sets = [drawn(rng, 30, 0.5), drawn(rng, 12), drawn(rng, 25)]
    one = told_apart(*sets)
    assert told_apart(*sets) == one
    assert told_apart(*sets, seed=1) != one
    other = told_apart(*(x * np.geomspace(1e-3, 1e3, D) + 5 for x in sets))
    assert other.synthetic.value == pytest.approx(one.synthetic.value, abs=1e-9)
    constant = [np.column_stack([x, np.ones(len(x))]) for x in sets]
    assert told_apart(*constant).synthetic.value == pytest.approx(one.synthetic.value, abs=1e-9)


def test_few_or_wrong_rows_are_told_in_one_line() -> None:
    rng = RNG(4)
    with pytest.raises(LdmError, match="unseen: found 4, expected at least 5"):
        told_apart(drawn(rng, 9), drawn(rng, 4), drawn(rng, 9))
    with pytest.raises(LdmError, match="others has 3 features, synthetic has 14"):
        told_apart(drawn(rng, 9), drawn(rng, 9), drawn(rng, 9)[:, :3])
    with pytest.raises(LdmError, match="4 and 9 volumes to tell apart: expected 5 or more"):
        cross_validated(drawn(rng, 4), drawn(rng, 9), rng)
