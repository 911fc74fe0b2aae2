"""Power and kurtosis by band: those of fields whose spectrum is known, in a brain of any place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft

from ldm.errors import LdmError
from ldm.volumes.spectrum import BANDS, COARSE, names, spectrum, window

SHAPE = (48, 60, 48)


def places(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Coordinates along each axis, -1..1 within the brain."""
    axes = [(np.arange(side) - (side - 1) / 2) / (side * 0.42) for side in shape]
    return list(np.meshgrid(*axes, indexing="ij"))


def brain(texture: np.ndarray, level: float = 20.0) -> np.ndarray:
    """An ellipsoid of that texture on a grey level, black around it."""
    return (level + texture) * (sum(axis**2 for axis in places(texture.shape)) < 1)


def noise(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def radius(shape: tuple[int, ...]) -> np.ndarray:
    axes = [np.fft.fftfreq(side) for side in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    return np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))


def blurred(field: np.ndarray, sd: float) -> np.ndarray:
    """By a Gaussian of that standard deviation, voxels."""
    transfer = np.exp(-2 * (np.pi * sd * radius(field.shape)) ** 2)
    return np.asarray(fft.irfftn(fft.rfftn(field) * transfer, s=field.shape))


def test_blur_takes_the_power_that_its_transfer_function_says() -> None:
    sd, lost = 0.8, []
    for seed in range(6):
        before, after = (spectrum(brain(x)).power for x in (noise(seed), blurred(noise(seed), sd)))
        lost.append(np.log(after / before))
    squared = np.exp(-((2 * np.pi * sd * radius(SHAPE)) ** 2))
    of_bands = [
        squared[(radius(SHAPE) >= low) & (radius(SHAPE) < high)].mean()
        for low, high in (COARSE, *BANDS)
    ]
    wanted = np.array(of_bands[1:]) / of_bands[0]
    assert wanted[-2] < 0.03 < 0.7 < wanted[0]
    found = np.exp(np.mean(lost, axis=0))
    np.testing.assert_allclose(found[:-1], wanted[:-1], rtol=0.07)
    assert found[-1] == pytest.approx(wanted[-1], rel=0.15)  # of which next to nothing is left


def test_white_noise_has_power_in_proportion_to_the_shell_of_a_band() -> None:
    found = np.mean([spectrum(brain(noise(seed))).power for seed in range(6)], axis=0)
    axes = np.meshgrid(*map(np.fft.fftfreq, SHAPE), indexing="ij", sparse=True)
    far = np.sqrt(sum(axis**2 for axis in axes))
    coarse, *shells = (((far >= low) & (far < high)).sum() for low, high in (COARSE, *BANDS))
    np.testing.assert_allclose(found / found[-1], np.array(shells) / shells[-1], rtol=0.08)
    assert found[-1] == pytest.approx(shells[-1] / coarse, rel=0.15)  # so few waves are coarse


def test_gaussian_noise_has_no_excess_kurtosis_and_noise_that_lies_in_few_places_has() -> None:
    everywhere = [spectrum(brain(noise(seed))).kurtosis for seed in range(8)]
    assert np.abs(np.mean(everywhere, axis=0)).max() < 0.12
    amplitude = np.where(places(SHAPE)[0] > 0, 3.0, 1.0)
    uneven = [spectrum(brain(amplitude * noise(seed), 40.0)).kurtosis for seed in range(8)]
    exact = 3 * (1 + 3**4) / 2 / ((1 + 3**2) / 2) ** 2 - 3  # of a band whose kernel is a point
    assert (np.mean(uneven, axis=0) > 0.45 * exact).all()
    assert (np.mean(uneven, axis=0) < exact).all()


def test_laplace_noise_has_its_kurtosis_where_its_scale_changes_slowly() -> None:
    shape, block = (96, 96, 96), 32
    scale = np.random.default_rng(0).exponential(size=tuple(side // block for side in shape))
    amplitude = np.sqrt(2 * np.kron(scale, np.ones((block,) * 3)))  # of Gaussian noise: Laplace
    inside = window(brain(amplitude, 60.0)) > 0.5
    drawn = 3 * (amplitude[inside] ** 4).mean() / (amplitude[inside] ** 2).mean() ** 2 - 3
    assert drawn == pytest.approx(3, abs=1.5)
    laplace = spectrum(brain(amplitude * noise(0, shape), 60.0)).kurtosis
    gauss = spectrum(brain(noise(0, shape), 60.0)).kurtosis
    assert (np.abs(gauss) < 0.15).all()
    assert 0.5 * drawn < laplace[5] < drawn  # a band's kernel rings over its neighbours


@settings(max_examples=15, deadline=None)
@given(
    gain=st.floats(0.05, 20),
    offset=st.floats(-3, 3),
    flips=st.sets(st.sampled_from([0, 1, 2])),
    shift=st.tuples(*[st.integers(-3, 3)] * 3),
)
def test_brightness_contrast_mirrors_and_place_do_not_matter(
    gain: float, offset: float, flips: set[int], shift: tuple[int, int, int]
) -> None:
    texture = blurred(noise(0), 0.6)
    volume = brain(texture)
    other = gain * (volume + offset * (volume > 0))
    other = np.roll(np.flip(other, tuple(flips)), shift, axis=(0, 1, 2))
    one, two = spectrum(volume), spectrum(other)
    np.testing.assert_allclose(two.power, one.power, rtol=1e-3)
    np.testing.assert_allclose(two.kurtosis, one.kurtosis, atol=5e-3)


def test_the_outline_of_a_brain_is_no_fine_structure() -> None:
    x, y, z = np.meshgrid(*(np.arange(side) for side in SHAPE), indexing="ij")
    waves = sum(np.cos(2 * np.pi * axis / 14) for axis in (x, y, z))  # 0.07 cycles a voxel
    found = spectrum(brain(waves, 4.0)).power
    assert (found[2:] < 0.003).all()
    assert (found[4:] < 0.0005).all()


def test_a_checkerboard_lies_in_the_last_band_alone() -> None:
    board = np.indices(SHAPE).sum(axis=0) % 2 - 0.5
    plain, boarded = (spectrum(brain(noise(0) + more * board)).power for more in (0.0, 0.5))
    np.testing.assert_allclose(boarded[:-1], plain[:-1], rtol=0.02)
    assert boarded[-1] > 1.02 * plain[-1]


def test_a_grey_background_and_a_hole_are_not_the_brain() -> None:
    volume = brain(noise(0))
    grey = np.where(volume == 0, 1.0, volume)
    holed = volume.copy()
    holed[20:26, 28:34, 20:26] = 0
    far = grey.copy()
    far[0, 0, :3] = 20
    for other in (grey, holed, far):
        np.testing.assert_array_equal(window(other), window(volume))
    assert window(volume)[24, 30, 24] == 1
    assert window(volume)[0, 0, 0] == 0


def test_volumes_of_odd_sides_and_small_ones_are_measured() -> None:
    for shape in ((17, 21, 19), (8, 9, 8)):
        found = spectrum(brain(noise(0, shape)))
        assert np.isfinite([found.power, found.kurtosis]).all()
    flat = spectrum(brain(np.zeros(SHAPE)))
    assert np.isfinite([flat.power, flat.kurtosis]).all()
    black = spectrum(np.zeros(SHAPE, np.float32), window(brain(noise(0))))
    assert np.isfinite([black.power, black.kurtosis]).all()


def test_bands_are_named_by_their_ends() -> None:
    assert names("power")[4] == "power_0.26_0.30"
    assert len(names("power")) == len(BANDS)
    assert all(one[1] == other[0] for one, other in pairwise(BANDS))


@pytest.mark.parametrize(
    ("volume", "told"),
    [
        (np.zeros((8, 8, 8)), "an empty volume: no voxel is brighter"),
        (np.full((8, 8, 8), -1.0), "an empty volume"),
        (np.full((8, 8, 8), np.nan), "expected three sides, finite numbers"),
        (np.ones((8, 8)), r"shape \(8, 8\): expected three sides"),
    ],
    ids=["black", "negative", "nan", "flat"],
)
def test_what_cannot_be_measured_is_told_in_one_line(volume: np.ndarray, told: str) -> None:
    with pytest.raises(LdmError, match=told):
        spectrum(volume)
