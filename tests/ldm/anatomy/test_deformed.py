"""Bent copies: the volumes they are said to have, no folds, repeatable."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ldm.anatomy import labels
from ldm.anatomy.deformed import VENTRICLE_SPREAD, deformed
from ldm.anatomy.virtual.subject import make_subject
from ldm.volumes.grid import Grid

SPACING = 4.0
COPIES = range(2, 10)


@lru_cache
def shares() -> np.ndarray:
    """(6, X, Y, Z) of a virtual subject, softened as partial volumes soften them."""
    truth = make_subject((3, 1), Grid(shape=(40, 48, 40), spacing=SPACING)).labels
    known = np.asarray(truth.dataobj)
    sharp = np.stack([known == structure for structure in range(labels.COUNT)])
    return np.stack([gaussian_filter(part.astype(np.float32), 0.7) for part in sharp])


def bent(volume: np.ndarray, copy: int, seed: int = 8) -> np.ndarray:
    return deformed(volume, shares(), SPACING, seed, copy).volume


def factors(copy: int, seed: int = 8) -> dict[str, float]:
    return deformed(shares()[labels.GREY], shares(), SPACING, seed, copy).factors


@pytest.mark.parametrize("copy", COPIES)
def test_the_factors_are_those_by_which_the_bent_image_has_changed(copy: int) -> None:
    def change(volume: np.ndarray) -> float:
        return float(bent(volume, copy).sum() / volume.sum())

    ventricles, fluid = shares()[labels.VENTRICLE], shares()[labels.CSF]
    tissue = shares()[labels.GREY] + shares()[labels.WHITE] + shares()[labels.STEM]
    head = np.clip(ventricles + fluid + tissue, 0, 1)
    told = factors(copy)
    assert change(ventricles) == pytest.approx(told["ventricular_volume"], rel=0.03)
    assert change(tissue) / change(head) == pytest.approx(told["brain_volume"], rel=0.005)


def test_ventricles_and_brains_become_larger_and_smaller_by_as_much_as_is_meant() -> None:
    told = [factors(copy, seed) for copy in COPIES for seed in range(4)]
    ventricles = np.log([each["ventricular_volume"] for each in told])
    brains = np.log([each["brain_volume"] for each in told])
    assert 0.5 * VENTRICLE_SPREAD < ventricles.std() < 1.3 * VENTRICLE_SPREAD
    assert abs(ventricles.mean()) < 0.5 * VENTRICLE_SPREAD
    assert 0.005 < brains.std() < 0.05
    assert brains.min() < 0 < brains.max()


@pytest.mark.parametrize("copy", COPIES)
def test_nothing_is_folded(copy: int) -> None:
    """The copy of an image of places tells where each voxel came from."""
    sides = np.array(shares().shape[1:])
    places = np.indices(sides, dtype=np.float32) / sides[:, None, None, None]
    came = np.stack([bent(axis, copy) for axis in places]) * sides[:, None, None, None]
    middle = np.s_[8:-8, 8:-8, 8:-8]
    slopes = np.stack([np.stack(np.gradient(axis)) for axis in came])
    turned = np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)))[middle]
    assert (-turned if copy % 2 else turned).min() > 0


def test_copies_repeat_and_differ_by_number_and_seed() -> None:
    grey = shares()[labels.GREY]
    np.testing.assert_array_equal(bent(grey, 2), bent(grey, 2))
    for other in (bent(grey, 4), bent(grey, 2, seed=9)):
        assert np.abs(other - bent(grey, 2)).max() > 0.1


def test_a_copy_is_a_volume_as_any_other() -> None:
    found = bent(shares()[labels.WHITE], 3)
    assert found.dtype == np.float32
    assert found.shape == shares().shape[1:]
    assert (found.min() >= 0, found.max() <= 1) == (True, True)


def test_where_no_ventricles_were_found_none_are_told_to_change() -> None:
    without = shares().copy()
    without[labels.CSF] += without[labels.VENTRICLE]
    without[labels.VENTRICLE] = 0
    told = deformed(shares()[labels.GREY], without, SPACING, 8, 2).factors
    assert told["ventricular_volume"] == 1
    assert told["brain_volume"] != 1
