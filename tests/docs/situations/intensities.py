"""What the numbers of an image are: their background, range, contrast and noise."""

from __future__ import annotations

import numpy as np

from tests.docs.situations.making import array, image, nifti, voxels
from tests.docs.situations.situation import Group, Situation


def _outside(data: np.ndarray) -> np.ndarray:
    return np.asarray(voxels() == 0)


def _not_numbers(data: np.ndarray) -> np.ndarray:
    return np.where(_outside(data), np.nan, data).astype(np.float32)


def _hole(data: np.ndarray, value: float) -> np.ndarray:
    data[70:74, 80:84, 70:74] = value
    return data


def _standardised(data: np.ndarray) -> np.ndarray:
    inside = ~_outside(data)
    return np.where(inside, (data - data[inside].mean()) / data[inside].std(), 0)


def _second_contrast(data: np.ndarray) -> np.ndarray:
    """Bright fluid, dark white matter."""
    return np.where(_outside(data), 0, 1100 - data).astype(np.float32)


def _mp2rage(data: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).uniform(0, 4095, data.shape)
    return np.where(_outside(data), noise, 1200 + 2.4 * data).astype(np.float32)


def _noisy(data: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, data.shape)
    return np.abs(data + noise).astype(np.float32)


def _spiked(data: np.ndarray) -> np.ndarray:
    data[70, 80, 70] = 1e7
    return data


def _vessel(data: np.ndarray, times: float) -> np.ndarray:
    """A bright sinus of 12 cm3 along the top."""
    data[68:71, 40:120, 100:106] = 1000 * times
    return data


def _cut_into(data: np.ndarray) -> np.ndarray:
    """A mask that took the top of the left half away."""
    data[:70, :, 78:] = 0
    return data


def _biased(data: np.ndarray) -> np.ndarray:
    ramp = np.linspace(0.4, 1.6, data.shape[1], dtype=np.float32)
    return np.asarray(data * ramp[None, :, None])


GROUP = Group(
    title="What its numbers are",
    about="The brain has 0 to 1000 on a background of 0; then this was done to it.",
    situations=(
        Situation(what="a background of NaN", make=array(_not_numbers)),
        Situation(what="NaN in the midst of the brain", make=array(lambda d: _hole(d, np.nan))),
        Situation(
            what="infinity in the midst of the brain", make=array(lambda d: _hole(d, np.inf))
        ),
        Situation(what="scaled to -1..1", make=array(lambda d: d / 500 - 1)),
        Situation(what="a background of -1024, as CT has it", make=array(lambda d: d - 1024)),
        Situation(what="1000 added to all", make=array(lambda d: d + 1000)),
        Situation(what="z-scored in its mask, 0 around it", make=array(_standardised)),
        Situation(what="MP2RAGE: noise of full range around it, no mask", make=array(_mp2rage)),
        Situation(
            what="MP2RAGE: the same, stripped",
            make=array(_mp2rage),
            options=("--skull-strip",),
        ),
        Situation(what="noise of 10 %", make=array(lambda d: _noisy(d, 100))),
        Situation(what="noise of 60 %", make=array(lambda d: _noisy(d, 600))),
        Situation(what="nothing but noise", make=array(lambda d: _noisy(0 * d, 100))),
        Situation(what="a bias field of 0.4 to 1.6", make=array(_biased)),
        Situation(what="one voxel of 10,000,000", make=array(_spiked)),
        Situation(what="vessels 1.6 times as bright", make=array(lambda d: _vessel(d, 1.6))),
        Situation(what="vessels ten times as bright", make=array(lambda d: _vessel(d, 10))),
        Situation(what="a mask that cut into the brain", make=array(_cut_into)),
        Situation(what="T2 contrast, named T1w", make=array(_second_contrast)),
        Situation(what="its mask alone, 0 and 1", make=array(lambda d: (d > 0).astype(np.float32))),
        Situation(what="empty: every voxel 0", make=array(np.zeros_like)),
        Situation(what="in 8 bits", make=image(lambda: nifti((voxels() // 4).astype(np.uint8)))),
    ),
)
