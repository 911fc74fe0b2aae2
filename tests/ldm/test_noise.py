"""Noise: each key its own stream, the same for ever."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ldm import noise

GOLDEN = [-0.41809389, 0.69238198, -1.06605422, 0.38567749]


def test_a_key_gives_these_numbers_for_ever() -> None:
    """A release is reproduced from its seeds: these must change with no version of anything."""
    found = noise.normal((2, 2), noise.LATENT, 5, 7, 0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), GOLDEN, rtol=1e-6)


def test_a_key_gives_the_same_whatever_was_drawn_before() -> None:
    first = noise.normal((4, 3), 1, 2, 3)
    noise.generator(9).random(100)
    np.testing.assert_array_equal(noise.normal((4, 3), 1, 2, 3), first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 2, 3), (1, 2, 4)),
        ((1, 2, 3), (1, 3, 2)),
        ((1, 2), (1, 2, 0)),
        ((1,), (1, 0)),
        ((0, 1), (1,)),
        ((1, 2**32 + 5, 0), (1, 5, 1)),
        ((3, 2**32, 4), (3, 0, 1, 4)),
        ((1, 5), (1, -5)),
        ((2**63, 1), (-(2**63), 1)),
        ((2**64, 1), (0, 1)),
        ((12, 3), (1, 23)),
    ],
)
def test_keys_that_differ_have_streams_that_differ(
    one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    assert (noise.normal((4,), *one) != noise.normal((4,), *other)).all()


def test_the_purposes_are_different_numbers() -> None:
    purposes = [getattr(noise, name) for name in dir(noise) if name.isupper()]
    assert len(purposes) >= 6
    assert len(set(purposes)) == len(purposes)


def test_streams_of_neighbouring_keys_are_independent_and_standard_normal() -> None:
    drawn = np.stack(
        [
            noise.normal((2_000,), noise.LATENT, *key)
            for key in itertools.product(range(5), repeat=2)
        ]
    )
    # 300 pairs of 2000 numbers: a correlation has a standard deviation of 0.022.
    correlations = np.corrcoef(drawn)[np.triu_indices(25, 1)]
    assert np.abs(correlations).max() < 0.1
    assert drawn.mean() == pytest.approx(0, abs=0.02)
    assert drawn.std() == pytest.approx(1, abs=0.02)
