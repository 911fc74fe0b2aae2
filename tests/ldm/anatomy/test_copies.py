"""Copies of a volume: itself, its mirror image, and heads moved a little."""

from __future__ import annotations

import numpy as np
import pytest

from ldm.anatomy.copies import LARGEST_ANGLE, LARGEST_SHIFT, moved
from ldm.volumes.spectrum import spectrum


def head() -> np.ndarray:
    """A soft ellipsoid with a lump on one side, (24, 28, 22), well inside its box."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 28, 22)), indexing="ij")
    body = 1 / (1 + np.exp(5 * ((x / 0.55) ** 2 + (y / 0.65) ** 2 + (z / 0.5) ** 2 - 1)))
    lump = 0.5 * np.exp(-40 * ((x - 0.2) ** 2 + (y + 0.1) ** 2 + z**2))
    return np.clip(0.6 * body + lump, 0, 1).astype(np.float32)


def test_copy_0_is_the_volume_and_copy_1_its_exact_mirror_image() -> None:
    np.testing.assert_array_equal(moved(head(), 5, 0), head())
    np.testing.assert_array_equal(moved(head(), 5, 1), head()[::-1])


@pytest.mark.parametrize("copy", [2, 3, 4, 5])
def test_a_moved_copy_keeps_the_volume_in_mm3(copy: int) -> None:
    found = moved(head(), 5, copy)
    assert found.dtype == np.float32
    assert (found.min() >= 0, found.max() <= 1) == (True, True)
    assert found.sum() == pytest.approx(head().sum(), rel=2e-3)
    assert (found > 0.3).sum() == pytest.approx((head() > 0.3).sum(), rel=0.02)


def test_a_moved_copy_is_moved_but_little_and_every_other_one_mirrored() -> None:
    places = np.indices(head().shape)

    def middle(volume: np.ndarray) -> np.ndarray:
        return (places * volume).sum((1, 2, 3)) / volume.sum()

    for copy in range(2, 8):
        found = moved(head(), 9, copy)
        start = head()[::-1] if copy % 2 else head()
        assert np.abs(found - start).max() > 0.02
        gap = np.abs(middle(found) - middle(start)).max()
        assert gap < LARGEST_SHIFT + 12 * np.deg2rad(LARGEST_ANGLE)
        mirrored, plain = np.abs(found - head()[::-1]).mean(), np.abs(found - head()).mean()
        assert (mirrored < plain) == bool(copy % 2)


def test_copies_repeat_and_differ_by_number_and_seed() -> None:
    np.testing.assert_array_equal(moved(head(), 1, 2), moved(head(), 1, 2))
    others = [moved(head(), 1, 4), moved(head(), 2, 2)]
    assert all(np.abs(other - moved(head(), 1, 2)).max() > 0.02 for other in others)


def test_a_moved_copy_keeps_what_is_fine() -> None:
    rng = np.random.default_rng(5)
    away = np.sqrt(sum(axis**2 for axis in np.ogrid[-22:22, -24:24, -22:22]))
    ball = (0.5 + 0.1 * rng.standard_normal(away.shape)) * (away < 18)
    before = spectrum(ball.astype(np.float32))
    copies = [spectrum(moved(ball, 3, copy)) for copy in range(2, 8)]
    kept = np.mean([copy.power / before.power for copy in copies], axis=0)
    kept /= kept[0]
    assert kept[:6] == pytest.approx(1, abs=0.04)  # up to 0.36 cycles a voxel
    assert 0.9 < kept[6] < 1.04
