"""The audit catches copies, flipped ones too, and lets those pass who copied nobody."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from ldm.errors import LdmError
from ldm.evaluation.features import image_vectors, mirror
from ldm.evaluation.privacy.audit import NOT_PLANTED, Space, audit
from ldm.evaluation.privacy.nearness import copy_threshold, crowding_p, nearness
from ldm.evaluation.privacy.verdict import FAILED, INCONCLUSIVE, Audit

Draw = Callable[[np.random.Generator, int], np.ndarray]

# Three populations of features: round, of few effective dimensions, and with heavy tails.
POPULATIONS: dict[str, Draw] = {
    "round": lambda rng, n: rng.standard_normal((n, 24)),
    "flat": lambda rng, n: rng.standard_normal((n, 24)) / np.arange(1, 25),
    "heavy": lambda rng, n: rng.standard_t(4, (n, 24)) / np.sqrt(np.arange(1, 25)),
}


def draw_audit(draw: Draw, seed: int, copied: int = 0, noise: float = 0.03) -> Audit:
    """An audit of 200 synthetic rows, `copied` of them training rows with noise."""
    rng = np.random.default_rng(seed)
    training, held_out, made = draw(rng, 80), draw(rng, 30), draw(rng, 200)
    spread = training.std(axis=0)
    made[:copied] = training[:copied] + noise * spread * rng.standard_normal((copied, 24))
    return audit(Space(name="features", training=training, held_out=held_out, synthetic=made))


@pytest.mark.parametrize("population", POPULATIONS)
def test_a_model_that_copied_nobody_fails_about_as_often_as_the_level_says(
    population: str,
) -> None:
    failed = [draw_audit(POPULATIONS[population], seed).verdict == FAILED for seed in range(100)]
    assert sum(failed) <= 4  # a level of 0.01: more than 4 in 100 has a probability of 0.003


@pytest.mark.parametrize("population", POPULATIONS)
def test_ten_copies_among_two_hundred_are_caught(population: str) -> None:
    for seed in range(5):
        found = draw_audit(POPULATIONS[population], seed, copied=10)
        assert not found.passed
        closest = found.findings[0].closest
        assert {near.synthetic for near in closest[:5]} <= set(range(10))
        assert all(near.synthetic == near.training for near in closest[:5])
        assert "near-copies of a training subject" in found.reasons[0]


def heads(seed: int, n: int) -> np.ndarray:
    """`n` smooth random anatomies (n, 20, 24, 20) about a common head, none symmetric."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in (20, 24, 20)), indexing="ij")
    head = np.exp(-3 * sum(axis**2 for axis in axes))
    own = gaussian_filter(rng.standard_normal((n, 20, 24, 20)), (0, 1.5, 1.5, 1.5))
    return (head * (1 + 3 * own)).astype(np.float32)


def image_audit(made: np.ndarray, *, flips: bool = True) -> Audit:
    training, held_out = heads(0, 60), heads(1, 30)
    mirrors = {
        "held_out_mirrored": image_vectors(mirror(held_out)),
        "synthetic_mirrored": image_vectors(mirror(made)),
    }
    return audit(
        Space(
            name="images",
            training=image_vectors(training),
            held_out=image_vectors(held_out),
            synthetic=image_vectors(made),
            **(mirrors if flips else {}),
        )
    )


def test_an_image_that_is_a_flipped_copy_is_caught_where_flips_are_looked_for() -> None:
    rng = np.random.default_rng(3)
    copies = heads(0, 60)[:10, ::-1]
    made = np.concatenate([heads(2, 90), copies + 0.02 * rng.standard_normal(copies.shape)])
    found = image_audit(made)
    assert not found.passed
    assert found.findings[0].near_copies.value == pytest.approx(0.1)
    assert found.findings[0].mirrored
    assert image_audit(made, flips=False).verdict != FAILED


def test_copies_are_caught_at_another_brightness_and_contrast_and_blurred() -> None:
    copies = gaussian_filter(0.6 * heads(0, 60)[:10] + 0.2, (0, 0.7, 0.7, 0.7))
    found = image_audit(np.concatenate([heads(2, 90), copies]))
    assert not found.passed
    assert found.findings[0].near_copies.value == pytest.approx(0.1)


def test_new_images_pass_and_so_does_a_blurred_mean_of_everybody() -> None:
    found = image_audit(heads(2, 90))
    assert (found.verdict, found.reasons) == (INCONCLUSIVE, (NOT_PLANTED,))
    average = heads(0, 60).mean(axis=0)  # near to every training subject, a copy of none
    blurred = average + 0.1 * (heads(2, 90) - heads(2, 90).mean(axis=0))
    found = image_audit(blurred).findings[0]
    assert found.to_training.value < found.reference.value
    assert found.near_copies.value == 0
    assert found.crowding_p > 0.05


def test_a_model_fitted_to_everybody_gives_membership_away() -> None:
    rng = np.random.default_rng(4)
    training, held_out = rng.standard_normal((120, 24)), rng.standard_normal((60, 24))
    near_all = np.repeat(training, 3, axis=0) + 0.75 * rng.standard_normal((360, 24))
    found = audit(Space(name="f", training=training, held_out=held_out, synthetic=near_all))
    assert any("training subjects are told from held-out" in reason for reason in found.reasons)
    membership = found.findings[0].membership
    assert membership.low > found.findings[0].detectable_auc
    assert (membership.n, membership.n_reference) == (120, 60)


def test_a_verdict_writes_its_rule_and_every_figure_as_json() -> None:
    found = draw_audit(POPULATIONS["round"], 1, copied=10)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["passed"] is False
    assert document["reasons"] == list(found.reasons)
    assert "no synthetic volume is nearer" in document["rule"]
    (space,) = document["spaces"]
    assert (space["n_training"], space["n_held_out"], space["n_synthetic"]) == (80, 30, 200)
    assert set(space["near_copies"]) == {"value", "low", "high", "n"}
    assert len(space["closest"]) == 10
    assert all("\n" not in reason for reason in found.reasons)


def test_relative_nearness_is_the_nearest_over_the_mean_of_the_next_ten() -> None:
    rng = np.random.default_rng(5)
    volumes, flipped, training = (rng.standard_normal((n, 6)) for n in (7, 7, 20))
    distances = np.minimum(cdist(volumes, training), cdist(flipped, training))
    found = nearness(volumes, training, flipped)
    nearest = np.sort(distances, axis=1)
    np.testing.assert_allclose(found.relative, nearest[:, 0] / nearest[:, 1:11].mean(axis=1))
    np.testing.assert_array_equal(found.subject, distances.argmin(axis=1))


def test_the_next_ten_are_ten_other_persons() -> None:
    rng = np.random.default_rng(8)
    volumes, training = rng.standard_normal((7, 6)), rng.standard_normal((60, 6))
    persons = [f"sub-{number % 20}" for number in rng.permutation(60)]
    distances = cdist(volumes, training)
    of_person = np.stack(
        [distances[:, np.array(persons) == name].min(axis=1) for name in sorted(set(persons))]
    )
    nearest = np.sort(of_person.T, axis=1)
    found = nearness(volumes, training, None, persons)
    np.testing.assert_allclose(found.relative, nearest[:, 0] / nearest[:, 1:11].mean(axis=1))
    np.testing.assert_array_equal(found.subject, distances.argmin(axis=1))


def test_copies_of_people_with_many_sessions_are_caught_and_a_person_counts_once() -> None:
    """Beside a person's other sessions a copy of one would look like an ordinary neighbour."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        people, held_out, made = (rng.standard_normal((n, 24)) for n in (40, 30, 200))
        training = np.repeat(people, 12, axis=0) + 0.1 * rng.standard_normal((480, 24))
        made[:6] = training[:72:12] + 0.1 * rng.standard_normal((6, 24))
        persons = tuple(f"sub-{number // 12}" for number in range(480))
        parts = {"name": "f", "training": training, "held_out": held_out, "synthetic": made}
        found = audit(Space(**parts, persons=persons))
        assert "near-copies of a training subject" in found.reasons[0]
        assert found.findings[0].n_training == 40
        assert found.findings[0].near_copies.value > (
            audit(Space(**parts)).findings[0].near_copies.value
        )


def test_a_stricter_level_and_more_volumes_ask_for_nearer_copies() -> None:
    held_out = np.random.default_rng(6).uniform(0.8, 1, 30)
    loose = copy_threshold(held_out, 100, 0.01)
    assert copy_threshold(held_out, 10_000, 0.01) < loose <= 0.5
    assert copy_threshold(held_out, 100, 0.0001) < loose
    tight = np.random.default_rng(6).uniform(0.2, 0.3, 30)
    assert copy_threshold(tight, 1, 0.4) <= tight.min()


def test_the_crowding_probability_is_exact() -> None:
    # 1 volume below the least of 9 held-out values: it is the least of 10 that are alike
    assert crowding_p(1, 1, 1, 9) == pytest.approx(0.1)
    assert crowding_p(0, 5, 1, 9) == 1
    rng = np.random.default_rng(7)
    drawn = rng.random((20_000, 14))
    below = (drawn[:, :5] < np.sort(drawn[:, 5:], axis=1)[:, 1:2]).sum(axis=1)
    assert crowding_p(3, 5, 2, 9) == pytest.approx((below >= 3).mean(), abs=0.01)


def test_image_vectors_lie_as_far_apart_as_their_correlation_says() -> None:
    a, b = image_vectors(heads(0, 2))
    volumes = heads(0, 2).reshape(2, -1)  # 20 x 24 x 20 becomes 17 x 20 x 17
    assert len(a) == 17 * 20 * 17
    np.testing.assert_allclose(((a - b) ** 2).sum(), 2 * (1 - np.corrcoef(a, b)[0, 1]))
    np.testing.assert_allclose(np.corrcoef(a, b)[0, 1], np.corrcoef(volumes)[0, 1], atol=0.05)


ONES = {"training": np.eye(12), "held_out": 2 * np.eye(12), "synthetic": np.eye(12)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: audit(), "0 spaces: expected one or more"),
        (lambda: audit(Space(name="a", **ONES), level=0.7), "level 0.7"),
        (
            lambda: audit(Space(name="a", **{**ONES, "held_out": np.eye(12)})),
            r"held-out subject \d+ is a training subject too",
        ),
        (
            lambda: Space(name="a", **{**ONES, "held_out": np.eye(12)[:9]}),
            "a: held_out: found 9, expected at least 10",
        ),
        (lambda: Space(name="a", **ONES, synthetic_mirrored=np.eye(12)), "both or neither"),
        (
            lambda: Space(name="a", **{**ONES, "synthetic": np.ones((4, 3))}),
            "synthetic has 3 features, training has 12",
        ),
        (lambda: image_vectors(np.ones((2, 8, 8, 8))), "volume 0: constant"),
        (lambda: image_vectors(np.ones((8, 8, 8))), r"expected \(N, X, Y, Z\)"),
    ],
    ids=["none", "level", "leak", "few", "mirror", "width", "constant", "shape"],
)
def test_wrong_input_is_told_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        call()
