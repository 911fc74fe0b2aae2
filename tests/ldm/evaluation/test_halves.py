"""FID at equal n: as near to people as people are to each other is 1, whatever n."""

from __future__ import annotations

import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.evaluation import halves
from ldm.evaluation.distances import frechet_distance
from ldm.evaluation.halves import equal_halves

D = 24


def drawn(rng: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    return np.asarray(rng.standard_normal((count, D)) / np.sqrt(1 + np.arange(D)) + shift)


@pytest.mark.parametrize(("made", "people"), [(300, 60), (60, 60), (15, 60)])
def test_volumes_of_the_real_distribution_have_a_ratio_of_one(made: int, people: int) -> None:
    rng = np.random.default_rng(0)
    found = [equal_halves(drawn(rng, made), drawn(rng, people), seed=i) for i in range(12)]
    assert np.mean([one.ratio.value for one in found]) == pytest.approx(1, abs=0.05)
    assert np.mean([one.ratio.low < 1 < one.ratio.high for one in found]) > 0.9
    size = min(made, people // 2)
    sizes = {(e.n, e.n_reference) for e in (found[0].synthetic, found[0].real, found[0].ratio)}
    assert sizes == {(size, size)}


def test_unequal_sizes_would_have_made_the_real_ones_look_worse() -> None:
    rng = np.random.default_rng(1)
    made, people = drawn(rng, 1000), drawn(rng, 60)
    unequal = frechet_distance(made, people).estimate.value
    halved = frechet_distance(people[:30], people[30:]).estimate.value
    assert unequal < 0.7 * halved
    found = equal_halves(made, people)
    assert found.ratio.value == pytest.approx(found.synthetic.value / found.real.value)
    assert found.ratio.low < 1 < found.ratio.high


def test_other_volumes_are_farther_than_people_are() -> None:
    rng = np.random.default_rng(2)
    found = equal_halves(drawn(rng, 100, 0.3), drawn(rng, 60))
    assert found.ratio.low > 1.5
    assert found.to_json()["ratio"]["value"] == pytest.approx(found.ratio.value, rel=1e-5)
    assert equal_halves(drawn(rng, 100, 0.3), drawn(rng, 60)).real.low > 0


def test_the_interval_holds_the_expected_ratio() -> None:
    rng = np.random.default_rng(3)
    ratios = [equal_halves(drawn(rng, 80, 0.1), drawn(rng, 60), seed=i).ratio for i in range(25)]
    truth = np.exp(np.mean(np.log([ratio.value for ratio in ratios])))
    assert np.mean([ratio.low < truth < ratio.high for ratio in ratios]) >= 0.9


def test_large_sets_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "MOST", 20)
    rng = np.random.default_rng(4)
    assert equal_halves(drawn(rng, 300), drawn(rng, 200)).ratio.n == 20


def test_a_set_of_few_or_of_other_features_is_told_in_one_line() -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(LdmError, match="real: found 7, expected at least 8"):
        equal_halves(drawn(rng, 9), drawn(rng, 7))
    with pytest.raises(LdmError, match="real has 3 features, synthetic has 24"):
        equal_halves(drawn(rng, 9), drawn(rng, 9)[:, :3])
    assert equal_halves(drawn(rng, 4), drawn(rng, 8)).ratio.n == 4
