"""A few voxels far brighter than tissue do not take the range for themselves."""

from __future__ import annotations

import numpy as np
import pytest

from ldm.volumes.brightness import levelled
from ldm.volumes.conversion import to_grid
from ldm.volumes.grid import Grid

COARSE = Grid(shape=(20, 24, 20), spacing=8.0)
FINE = Grid(shape=(72, 88, 72), spacing=2.0)
SIDE = np.diag([2.0, 2.0, 2.0, 1.0])


def brain() -> np.ndarray:
    """(72, 88, 72) float32: fluid of 250, grey of 600 and white of 900 with noise; 0 around it."""
    x, y, z = np.indices((72, 88, 72))
    depth = np.sqrt(((x - 35.5) / 33) ** 2 + ((y - 43.5) / 40) ** 2 + ((z - 35.5) / 33) ** 2)
    tissue = np.select([depth < 0.15, depth < 0.65, depth < 0.9, depth < 1], [250, 900, 600, 250])
    noise = 20 * np.random.default_rng(0).standard_normal(tissue.shape)
    return np.where(tissue > 0, tissue + noise, 0).astype(np.float32)


def spiked(count: int, value: float) -> np.ndarray:
    """The brain with so many hot voxels, strewn over the whole field."""
    data = brain()
    data.ravel()[np.random.default_rng(1).choice(data.size, count, replace=False)] = value
    return data


def with_vessel(value: float) -> np.ndarray:
    """The brain with a bright sinus along its middle, or eyes: 0.5 % of the field."""
    data = brain()
    data[34:38, 10:78, 62:70] = value
    return data


HOT = {
    "one": spiked(1, 1e6),
    "one, the largest that float32 holds": spiked(1, 3e38),
    "a hundred": spiked(100, 1e6),
    "a vessel twice as bright": with_vessel(1800),
    "a vessel ten times as bright": with_vessel(9000),
}


@pytest.mark.parametrize("grid", [COARSE, FINE], ids=["coarse", "fine"])
@pytest.mark.parametrize("hot", HOT)
def test_tissue_keeps_most_of_its_range_beside_what_is_hot(hot: str, grid: Grid) -> None:
    plain, found = to_grid(brain(), SIDE, grid, order=3), to_grid(HOT[hot], SIDE, grid, order=3)
    white, grey = np.median(plain[plain > 0.8]), np.median(plain[(plain > 0.4) & (plain < 0.8)])
    assert np.median(found[plain > 0.8]) > 0.6 * white
    assert np.median(found[(plain > 0.4) & (plain < 0.8)]) > 0.6 * grey


def test_spikes_change_next_to_nothing_of_the_rest() -> None:
    plain, found = (to_grid(data, SIDE, FINE, order=3) for data in (brain(), spiked(100, 1e6)))
    assert np.mean(np.abs(plain - found) > 0.03) < 0.003


def test_a_scan_without_spikes_is_the_very_same() -> None:
    data = brain()
    found, told = levelled(data)
    assert found is data
    assert told is None


@pytest.mark.parametrize(
    ("hot", "told"),
    [
        ("one", "1 voxel is up to 1,0"),
        ("a hundred", "100 voxels are up to 1,0"),
        ("a vessel ten times as bright", "2,176 voxels are up to 9."),
    ],
)
def test_what_is_hot_is_told(hot: str, told: str) -> None:
    _, line = levelled(HOT[hot])
    assert line is not None
    assert line.startswith(told)
    assert line.endswith(" times as bright as tissue: cut to 1.5 times")


def test_a_few_bright_vessels_are_levelled_without_a_word() -> None:
    found, told = levelled(spiked(100, 2700))
    assert told is None
    assert 1300 < found.max() < 1500


@pytest.mark.parametrize("offset", [-1024.0, 0.0, 1000.0])
@pytest.mark.parametrize("slope", [1e-3, 1.0, 50.0])
def test_neither_slope_nor_offset_matters(slope: float, offset: float) -> None:
    data = spiked(100, 1e5)
    found, _ = levelled(np.float32(slope * data + offset))
    np.testing.assert_allclose((found - offset) / slope, levelled(data)[0], rtol=0.01, atol=5)
