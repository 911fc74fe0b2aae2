"""What lies outside a head is black on the grid, whatever scale the scan's intensities have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm.volumes.background import background, masked, settled
from ldm.volumes.conversion import to_grid
from ldm.volumes.grid import Grid

GRID = Grid(shape=(24, 28, 24), spacing=8.0)
SIDE = np.diag([4.0, 4.0, 4.0, 1.0])


def brain(margin: int = 2) -> np.ndarray:
    """Fluid of 0.2, grey of 0.6 and white of 1.0 with some texture; 0 around it, float32."""
    x, y, z = np.indices((32, 40, 32))
    depth = np.sqrt(((x - 15.5) / 15) ** 2 + ((y - 19.5) / 19) ** 2 + ((z - 15.5) / 15) ** 2)
    tissue = np.select([depth < 0.15, depth < 0.65, depth < 0.9, depth < 1], [0.2, 1.0, 0.6, 0.2])
    texture = 1 + 0.1 * np.random.default_rng(0).standard_normal(tissue.shape).clip(-2, 2)
    return np.pad(tissue * texture, margin).astype(np.float32)


def z_scored(data: np.ndarray) -> np.ndarray:
    """Inside the mask; outside it 0, which lies between fluid and white matter."""
    inside = data[data > 0]
    return np.where(data > 0, (data - inside.mean()) / inside.std(), 0).astype(np.float32)


def noisy(value: float, spread: float) -> np.ndarray:
    """The brain in noise of a mean `value`."""
    noise = np.random.default_rng(1).uniform(value - spread, value + spread, brain().shape)
    return np.where(brain() > 0, brain(), noise).astype(np.float32)


def on_grid(data: np.ndarray, order: int = 3) -> np.ndarray:
    return to_grid(data, SIDE, GRID, order=order)


SCALES = {
    "-1 to 1": lambda data: 2 * data - 1,
    "Hounsfield-like": lambda data: 1000 * data - 1024,
    "offset": lambda data: 1000 * data + 1000,
    "negative throughout": lambda data: data - 100,
    "z-scored": lambda data: (data - data.mean()) / data.std(),
    "huge": lambda data: 1e12 * data,
    "tiny": lambda data: 1e-12 * data,
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("margin", [0, 2])
def test_a_scan_on_any_scale_comes_out_as_on_its_own_with_a_black_background(
    scale: str, margin: int
) -> None:
    data = brain(margin)
    wanted, found = on_grid(data), on_grid(np.float32(SCALES[scale](data)))
    outside = on_grid((data > 0).astype(np.float32), order=1) == 0
    assert outside.mean() > 0.3
    assert (wanted[outside] == 0).all()
    assert (found[outside] == 0).all()
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert settled(np.float32(SCALES[scale](data)))[1] is None


@given(st.floats(-3000, 3000), st.floats(0.01, 1000))
@settings(max_examples=30, deadline=None)
def test_the_background_is_the_least_and_settled_once_for_all(offset: float, scale: float) -> None:
    data = np.float32(brain() * np.float32(scale) + np.float32(offset))
    if not data.max() > data.min():
        return  # too small a scale beside the offset for float32
    found, _ = settled(data)
    assert found.min() == background(data).value == background(found).value
    np.testing.assert_array_equal(settled(found)[0], found)


def test_a_mask_between_dark_and_bright_is_blackened_and_told() -> None:
    data = z_scored(brain())
    assert (data < -0.5).any()
    found, note = settled(data)
    assert note == "background 0 is not the darkest of the scan: taken for a mask, blackened"
    assert (found[brain() == 0] == found.min()).all()
    assert settled(found)[1] is None
    placed, wanted = on_grid(data), on_grid(brain())
    outside = on_grid((brain() > 0).astype(np.float32), order=1) == 0
    assert (placed[outside] == 0).all()
    bright = wanted > 0.9
    assert placed[bright].mean() == pytest.approx(wanted[bright].mean(), abs=0.05)


def test_a_grey_frame_around_a_darker_background_is_blackened_and_told() -> None:
    """As a resampling tool leaves that fills with 0 around a z-scored scan."""
    inner = brain()
    data = np.pad(np.float32((inner - inner.mean()) / inner.std()), 6)
    found, note = settled(data)
    assert note is not None
    assert (found[:6] == found.min()).all()
    np.testing.assert_allclose(on_grid(data), on_grid(inner), atol=0.02)


def test_noise_as_bright_as_tissue_stays_and_is_told() -> None:
    """As an MP2RAGE's uniform image has it."""
    data = noisy(0.5, 0.5)
    found, note = settled(data)
    assert note is not None
    assert note.startswith("background 0.4999 is not")
    assert "not the darkest of the scan but noise or tissue; it stays" in note
    np.testing.assert_array_equal(found, data)
    placed = on_grid(data)
    beyond, noise = placed[:2], placed[4:20, 4:8, 4:8]
    assert np.ptp(beyond) == 0
    assert beyond[0, 0, 0] == pytest.approx(noise.mean(), abs=0.03)


def test_the_faint_noise_of_air_is_no_reason_to_tell_and_its_level_is_black() -> None:
    data = 100 + noisy(0.03, 0.03)
    assert settled(data)[1] is None
    placed = on_grid(data)
    assert placed[0, 0, 0] == 0
    assert placed[:2].max() < 0.06


@pytest.mark.parametrize("data", [1000 + brain(), noisy(0.5, 0.5), brain() - 1, z_scored(brain())])
def test_what_a_mask_takes_away_is_black_on_the_grid(data: np.ndarray) -> None:
    mask = np.zeros(data.shape, dtype=bool)
    mask[8:-8, 10:-10, 8:-8] = True
    found = masked(settled(data)[0], mask)
    assert (found[~mask] == found.min()).all()
    placed = on_grid(found)
    outside = on_grid(mask.astype(np.float32), order=1) == 0
    assert (placed[outside] == 0).all()
    assert placed.max() == 1
