"""Effects of age and sex on regions: known ones are found, with intervals that hold them."""

from __future__ import annotations

import numpy as np
import pytest

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.effects import AGE, SEX, Set, concordance, effects

# Per decade, in per cent of the volume at age 0; and men's above women's.
AGEING = {"hippocampus": -3.0, "ventricle": 8.0, "pons": 0.0}
SEXES = {"hippocampus": 40.0, "ventricle": 0.0, "pons": -30.0}


def people(n: int, key: int, ageing: float = 1.0) -> Set:
    """People whose regions have 1,000 at age 0, 0.5 of it by the head's size, and noise of 50."""
    rng = noise.generator(11, key)
    age, male = rng.uniform(20, 80, n), (rng.random(n) < 0.5).astype(float)
    head = 1500 + 120 * male + rng.normal(0, 100, n)
    volumes = {
        name: 1000
        + ageing * 10 * AGEING[name] * age / 10
        + SEXES[name] * male
        + 0.5 * (head - 1500)
        + rng.normal(0, 50, n)
        for name in AGEING
    }
    return Set(volumes=volumes, age=age, male=male, head=head)


def test_known_effects_lie_in_their_intervals() -> None:
    found = effects(people(400, 1), people(300, 2), draws=400, splits=50)
    for name in AGEING:
        mean = float(np.mean(people(400, 1).volumes[name]))
        for side in (found.real, found.synthetic):
            age, sex = side[name][AGE], side[name][SEX]
            assert age.low - 0.1 <= 100 * 10 * AGEING[name] / mean <= age.high + 0.1
            assert sex.low - 0.1 <= SEXES[name] / 50 <= sex.high + 0.1
            assert age.high - age.low < 1.5
    assert found.real["pons"][AGE].n == 400
    assert found.agreement[AGE].value > 0.98
    assert found.halves[AGE].n == 200


def test_an_ageing_that_is_half_as_strong_does_not_agree() -> None:
    found = effects(people(400, 1), people(400, 3, ageing=0.4), draws=300, splits=50)
    assert found.agreement[AGE].high < found.halves[AGE].low
    assert found.agreement[AGE].value < 0.9
    assert found.agreement[SEX].value > 0.9


def test_a_larger_head_is_no_effect_of_sex() -> None:
    """Men's heads are larger; the ventricle follows the head alone."""
    found = effects(people(600, 4), people(600, 5), draws=300, splits=20)
    sex = found.real["ventricle"][SEX]
    assert sex.low < 0 < sex.high


def test_the_same_key_gives_the_same_and_all_is_json() -> None:
    found = [effects(people(40, 1), people(40, 2), draws=50, splits=20) for _ in range(2)]
    assert found[0].to_json() == found[1].to_json()
    told = found[0].to_json()["regions"]["pons"][AGE]["synthetic"]
    assert set(told) == {"value", "low", "high", "n"}


def test_concordance_is_one_of_equal_and_less_of_shifted_columns() -> None:
    x = np.arange(5.0)
    assert concordance(x, x) == pytest.approx(1)
    assert concordance(x, x + 2) == pytest.approx(0.5)  # 2 * 2 / (2 + 2 + 4)
    assert concordance(x, -x + 4) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"age": np.full(40, 50.0)}, "real age: all have 50; expected people who differ"),
        ({"male": np.zeros(40)}, "real sex: all have 0; expected people who differ"),
        ({"age": np.arange(39.0)}, "columns of different lengths"),
        ({"head": np.full(40, np.nan)}, "real head size"),
    ],
)
def test_people_of_whom_nothing_can_be_said_are_refused(
    change: dict[str, np.ndarray], told: str
) -> None:
    whole = people(40, 1)
    known = {"volumes": whole.volumes, "age": whole.age, "male": whole.male, "head": whole.head}
    with pytest.raises(LdmError, match=told):
        effects(Set(**{**known, **change}), whole)


def test_other_regions_and_too_few_people_are_refused() -> None:
    whole = people(40, 1)
    lacking = {name: v for name, v in whole.volumes.items() if name != "pons"}
    fewer = Set(volumes=lacking, age=whole.age, male=whole.male, head=whole.head)
    with pytest.raises(LdmError, match="regions pons: expected the same ones"):
        effects(whole, fewer)
    with pytest.raises(LdmError, match="expected at least 20"):
        effects(people(10, 1), whole)
