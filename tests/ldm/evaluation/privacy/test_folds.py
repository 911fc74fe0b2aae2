"""Folds tell a copy of a person, moved, bent, mirrored, blurred or mixed, from somebody new."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ldm.errors import LdmError
from ldm.evaluation.privacy.audit import Folds, audit
from ldm.evaluation.privacy.matching import Matcher, brain_of, middles
from ldm.evaluation.privacy.nearness import Matches, matched_nearness
from ldm.evaluation.privacy.pattern import SPACING, pattern, pattern_shape
from ldm.evaluation.privacy.planted import EACH, MAKES, displaced, plant
from ldm.evaluation.privacy.verdict import FAILED, INCONCLUSIVE, PASSED, Audit

SHAPE = (34, 38, 34)
TRAINED, HELD_OUT, NEW = 24, 12, 38


@cache
def brain(seed: int) -> np.ndarray:
    """Somebody: an ellipsoid that all have, with folds of their own among those in common."""
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.8
    fields = [np.random.default_rng(s).standard_normal(SHAPE) for s in (10_000, seed)]
    folds = [gaussian_filter(f, 1.4) - gaussian_filter(f, 2.8) for f in fields]
    common, own = (f / f.std() for f in folds)
    return (inside * (0.6 + 0.06 * common + 0.08 * own).clip(0.3, 1)).astype(np.float32)


def patterns(volumes: list[np.ndarray]) -> np.ndarray:
    return np.stack([pattern(volume, SPACING) for volume in volumes])


@cache
def people() -> np.ndarray:
    return patterns([brain(seed) for seed in range(TRAINED + HELD_OUT)])


@cache
def matcher() -> Matcher:
    return Matcher(people())


@cache
def among_themselves() -> Matches:
    return matcher()(people())


def folds(synthetic: Matches, **changes: object) -> Folds:
    persons = tuple(map(str, range(TRAINED + HELD_OUT)))
    fields = {
        "persons": persons,
        "trained": np.arange(len(persons)) < TRAINED,
        "synthetic": synthetic,
        "shown": persons,
    }
    return Folds(**{**fields, **changes})  # type: ignore[arg-type]


def news(count: int) -> list[np.ndarray]:
    """People whom nobody trained on."""
    return [brain(1000 + seed) for seed in range(count)]


# Of other makes than those that an audit plants for itself.
LEAKS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "as it is": lambda rng, who: brain(who),
    "mirrored": lambda rng, who: brain(who)[::-1],
    "shifted": lambda rng, who: np.roll(brain(who), (2, -1, 1), (0, 1, 2)),
    "bent": lambda rng, who: displaced(brain(who), SPACING, rng, bend=2.5),
    "another contrast": lambda rng, who: 0.3 + 0.5 * brain(who) ** 1.5 * (brain(who) > 0),
    "shaded": lambda rng, who: brain(who) * np.linspace(0.7, 1.3, SHAPE[0])[:, None, None],
    "noisy": lambda rng, who: brain(who) + 0.04 * rng.standard_normal(SHAPE) * (brain(who) > 0),
    "blurred": lambda rng, who: gaussian_filter(brain(who), 1.0),
    "of the mean of two": lambda rng, who: (brain(who) + brain((who + 9) % TRAINED)) / 2,
}


OF = [(key % TRAINED, (key + 5) % TRAINED) for key in range(EACH)]  # whom planted leaks show


@cache
def everything() -> tuple[Matches, dict[str, Matches], dict[str, Matches]]:
    """New people, pairs of leaks by make, and planted ones by make; matched at once, for that is
    quicker."""
    rng = np.random.default_rng(0)
    leaks = [act(rng, who) for act in LEAKS.values() for who in (3, 17)]
    own = [
        plant(make, [brain(one), brain(other)], SPACING, key)
        for make in MAKES
        for key, (one, other) in enumerate(OF)
    ]
    found = matcher()(patterns([*news(NEW), *leaks, *own]))

    def rows(start: int, count: int) -> Matches:
        part = slice(start, start + count)
        return Matches(people=found.people[part], distances=found.distances[part])

    after = NEW + len(leaks)
    return (
        rows(0, NEW),
        {make: rows(NEW + 2 * k, 2) for k, make in enumerate(LEAKS)},
        {make: rows(after + EACH * k, EACH) for k, make in enumerate(MAKES)},
    )


def audited(synthetic: Matches, *makes: str) -> Audit:
    """With leaks planted of those makes."""
    planted = {make: everything()[2][make] for make in makes}
    of = tuple((str(one), str(other)) for one, other in OF)
    return audit(
        folds(
            synthetic,
            real=among_themselves(),
            planted=planted,
            planted_of=dict.fromkeys(makes, of),
        )
    )


@pytest.mark.parametrize("make", LEAKS)
def test_two_leaks_among_forty_volumes_are_caught_and_their_source_is_named(make: str) -> None:
    new, leaks, _ = everything()
    found = audited(Matches.joined([new, leaks[make]]), "bent")
    assert found.verdict == FAILED
    assert "folds: 2 of 40 synthetic volumes are near-copies" in found.reasons[0]
    sources = {near.synthetic: near.training for near in found.findings[0].closest[:2]}
    assert set(sources) == {NEW, NEW + 1}
    assert make == "of the mean of two" or sources == {NEW: 3, NEW + 1: 17}


def test_new_people_pass_where_a_leak_would_have_been_caught() -> None:
    found = audited(everything()[0], "moved", "bent")
    assert (found.verdict, found.reasons, found.alike) == (PASSED, (), ())


def test_what_would_have_been_caught_is_told_for_every_make() -> None:
    power = audited(everything()[0], *MAKES).power
    assert power is not None
    assert power.caught["bent"] == (1.0,) * 5
    assert power.found_source["bent"] == 1.0
    document = power.to_json()
    assert set(document["caught"]) == set(MAKES)
    assert document["shares"] == [0.01, 0.02, 0.05, 0.2, 1.0]
    for found in power.caught.values():
        assert found[-1] == max(found)  # the more leaks, the more often


def test_nobody_is_cleared_where_a_leak_would_pass() -> None:
    """Leaks that are no nearer to their source than other people are."""
    new = everything()[0]
    shown = tuple((str(key), str(key)) for key in range(NEW))
    one = folds(new, real=among_themselves(), planted={"odd": new}, planted_of={"odd": shown})
    found = audit(one)
    assert found.verdict == INCONCLUSIVE
    assert "2 leaks among 38 volumes (odd) would be caught in" in found.reasons[0]
    assert audited(new).verdict == INCONCLUSIVE  # none was planted


def test_a_subject_who_is_there_under_two_names_is_named_and_hides_no_copy() -> None:
    again = displaced(brain(4), SPACING, np.random.default_rng(2), bend=1.0)
    everybody = np.concatenate([people()[:-1], patterns([again])])
    match = Matcher(everybody)
    leak = displaced(brain(7), SPACING, np.random.default_rng(3), bend=2.5)
    synthetic = match(patterns([*news(20), leak]))
    found = audit(folds(synthetic, real=match(everybody), planted={}, planted_of={}))
    assert {(pair.one, pair.other) for pair in found.alike} == {(str(TRAINED + HELD_OUT - 1), "4")}
    assert found.verdict == FAILED
    assert "folds: 1 of 21 synthetic volumes are near-copies" in found.reasons[0]


def test_candidates_are_chosen_so_that_the_source_is_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    monkeypatch.setattr("ldm.evaluation.privacy.matching.CANDIDATES", 12)
    many = [brain(5000 + seed) for seed in range(40)]
    whom = [1, 20, 39]
    bent = [displaced(many[who], SPACING, rng, bend=2.5) for who in whom]
    found = Matcher(patterns(many))(patterns(bent))
    assert found.people.shape == (3, 12)
    rows = np.arange(3)
    assert found.people[rows, found.distances.argmin(axis=1)].tolist() == whom


def test_a_copy_lies_at_nothing_and_a_reflection_too() -> None:
    found = matcher()(np.stack([people()[2], people()[2][::-1]]))
    np.testing.assert_allclose(found.distances[:, 2], 0, atol=1e-5)
    assert found.distances[:, :2].min() > 0.2


def test_a_person_with_many_sessions_counts_once_and_oneself_not_at_all() -> None:
    matches = Matches(
        people=np.array([[0, 1, 2, 3, 4]]), distances=np.array([[0.1, 0.2, 0.5, 0.6, 0.8]])
    )
    persons, trained = ["a", "a", "b", "c", "d"], np.array([True, True, True, True, False])
    found = matched_nearness(matches, persons, trained)
    assert (found.distance[0], found.subject[0]) == (0.1, 0)
    assert found.relative[0] == pytest.approx(0.1 / 0.55)
    with pytest.raises(LdmError, match="fewer than 3 training subjects"):
        matched_nearness(matches, persons, trained, own=["a"])


def test_a_pattern_knows_neither_brightness_nor_voxels_nor_what_is_outside() -> None:
    found = pattern(brain(0), SPACING).astype(float)
    brighter = pattern(0.5 * brain(0), SPACING).astype(float)
    np.testing.assert_allclose(found, brighter, atol=1)
    assert (found[brain(0) == 0] == 0).mean() > 0.99
    fine = np.kron(brain(0), np.ones((2, 2, 2), np.float32))
    assert pattern_shape(fine.shape, SPACING / 2) == SHAPE
    coarse = pattern(fine, SPACING / 2).astype(float)
    alike = [np.corrcoef(np.roll(found, k, 0).ravel(), coarse.ravel())[0, 1] for k in (-1, 0, 1)]
    assert alike[1] == max(alike) > 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pattern(np.zeros(SHAPE), SPACING), "an empty volume"),
        (lambda: pattern(np.full(SHAPE, np.nan), SPACING), "finite numbers"),
        (lambda: Matcher(people()[:1]), "those of 2 or more people"),
        (lambda: Matcher(np.zeros((3, 20, 20, 20), np.int8)), "no place in common"),
        (lambda: matcher()(np.zeros((1, 20, 20, 20), np.int8)), "patterns of"),
    ],
)
def test_wrong_input_is_told_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        call()


def test_parts_lie_in_the_brain() -> None:
    places = middles(brain_of(people()))
    assert len(places) > 5
    assert all(brain(0)[tuple(place)] > 0 for place in places)
