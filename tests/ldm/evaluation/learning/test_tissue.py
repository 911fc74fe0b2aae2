"""What synthetic volumes teach of tissue: answers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.evaluation.learning.tissue import FEATURES, VOXELS, tissue_transfer, voxels_of

NAMES = ("background", "fluid", "grey", "white")
SHAPE = (24, 28, 24)


def brain(seed: int, *, contrast: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A ball of white matter in grey matter in fluid; with `contrast` -1 white is the darkest."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    radius = np.sqrt(sum((a - rng.normal(0, 0.05)) ** 2 for a in axes))
    labels = np.select([radius < 0.45, radius < 0.7, radius < 0.85], [3, 2, 1], 0)
    bright = np.array([0.0, *(0.6 + contrast * np.array([-0.35, 0.0, 0.35]))])
    return bright[labels] + rng.normal(0, 0.03, SHAPE), labels


def volumes(count: int, start: int, *, contrast: float = 1.0) -> np.ndarray:
    made = (brain(start + i, contrast=contrast) for i in range(count))
    return np.stack([voxels_of(image, labels, start + i) for i, (image, labels) in enumerate(made)])


def test_voxels_are_of_the_brain_and_a_function_of_the_seed() -> None:
    image, labels = brain(0)
    found = voxels_of(image, labels, 3)
    assert found.shape == (VOXELS, FEATURES + 1)
    assert np.isfinite(found).all()
    assert set(found[:, -1]) == {1.0, 2.0, 3.0}
    shares = np.bincount(found[:, -1].astype(int))[1:] / VOXELS
    np.testing.assert_allclose(
        shares, np.bincount(labels.ravel())[1:] / (labels > 0).sum(), atol=0.1
    )
    np.testing.assert_array_equal(voxels_of(image, labels, 3), found)
    assert not np.array_equal(voxels_of(image, labels, 4), found)


def test_volumes_like_people_teach_as_much_as_people() -> None:
    found = tissue_transfer(volumes(20, 0), volumes(12, 100), NAMES)
    assert found.real.value > 0.9
    assert found.synthetic.value == pytest.approx(found.real.value, abs=0.04)
    assert found.trained_on == (10, 12)
    assert found.to_json()["synthetic"]["n"] == 20


def test_volumes_of_another_contrast_teach_less() -> None:
    found = tissue_transfer(volumes(20, 0), volumes(12, 100, contrast=-1.0), NAMES)
    assert found.synthetic.value < found.real.value - 0.2


def test_too_few_and_a_volume_without_labels_are_told() -> None:
    few = volumes(4, 0)
    with pytest.raises(LdmError, match="4 real and 4 synthetic volumes: expected at least 20 and"):
        tissue_transfer(few, few, NAMES)
    with pytest.raises(LdmError, match="background alone"):
        voxels_of(np.ones(SHAPE), np.zeros(SHAPE, dtype=int), 0)
