"""What every moved or resampled volume shares: axes, rotations, mirror images, smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ldm import noise
from ldm.volumes.resampling import (
    blurred,
    centred_axes,
    coarsening_sigma,
    mirrored,
    rotation,
    smoothed_for,
)

ANGLES = st.lists(st.floats(-3.1, 3.1), min_size=3, max_size=3)


def ball(side: int = 21) -> np.ndarray:
    away = np.stack(np.meshgrid(*centred_axes((side,) * 3, 1.0), indexing="ij"))
    return np.asarray((away**2).sum(axis=0) < 30, dtype=np.float32)


@given(ANGLES)
def test_a_rotation_is_about_x_then_y_then_z(angles: list[float]) -> None:
    wanted = Rotation.from_euler("xyz", angles).as_matrix()
    np.testing.assert_allclose(rotation(np.array(angles)), wanted, atol=1e-12)


def test_axes_are_mm_from_the_middle() -> None:
    even, odd = centred_axes((4, 3), 2.0)
    assert even.tolist() == [-3, -1, 1, 3]
    assert odd.tolist() == [-2, 0, 2]


def test_an_image_and_its_labels_are_mirrored_together_half_the_time() -> None:
    image = np.arange(24.0).reshape(2, 3, 4)
    flips = 0
    for number in range(400):
        seen, maps = mirrored(noise.generator(number), image, np.stack([image, -image]))
        flips += int(not np.array_equal(seen, image))
        assert np.array_equal(maps, np.stack([seen, -seen]))
        assert np.array_equal(seen[::-1] if seen[0, 0, 0] else seen, image)
    assert 160 < flips < 240


def test_blurring_keeps_the_sum_and_the_dtype() -> None:
    soft = blurred(ball(), 1.5)
    assert soft.dtype == np.float32
    assert float(soft.sum()) == pytest.approx(float(ball().sum()), rel=1e-5)
    assert len(np.unique(soft)) > len(np.unique(ball()))
    edge = np.zeros((9, 9, 9), dtype=np.float32)
    edge[0] = 1
    assert blurred(edge, 1.0, mode="constant").sum() < blurred(edge, 1.0).sum()


def test_a_fine_voxel_widened_by_the_sigma_is_as_wide_as_the_coarse_one() -> None:
    sigma = coarsening_sigma(np.array([1.0, 0.5, 3.0]), 2.0)
    widths = np.hypot(1, sigma * 2.355) * (1.0, 0.5, 3.0)
    np.testing.assert_allclose(widths, (2.0, 2.0, 3.0))


def test_a_volume_is_smoothed_only_along_the_axes_that_get_coarser() -> None:
    volume, affine = ball(), np.diag([1.0, 2.0, 2.0, 1.0])
    assert smoothed_for(2.0, volume, np.diag([2.0, 2.0, 2.01, 1.0])) is volume
    slab = np.where(np.arange(21)[:, None, None] == 10, volume, 0)
    found = smoothed_for(2.0, slab, affine)
    assert 0 < found[9].max() < found[10].max() < 1
    np.testing.assert_allclose(found[10], found[10].max() * volume[10], atol=1e-6)
