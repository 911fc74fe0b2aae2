"""A virtual scanner: the anatomy's tissues as an image of a contrast, with its bias and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldm.contrasts import T1W
from ldm.volumes.grid import Grid
from ldm.volumes.resampling import centred_axes

CSF_GREY, GREY_WHITE = 0.57, 0.79  # of the template's T1w range: the borders of its tissues
_LATTICE_HALF = 144.0  # mm from the middle of the grid to the end of the lattices of chance
# How bright fluid, grey and white matter are, and how much of the template's own detail is seen
# in them; 1 is the brightest that an image holds. Of T2w fluid is the brightest and white matter
# the darkest; of FLAIR fluid is dark, and grey matter brighter than white.
_TISSUES = {
    T1W: (0.24, 0.53, 0.80, 0.25),
    "T2w": (0.88, 0.52, 0.36, -0.12),
    "PDw": (0.70, 0.82, 0.64, -0.05),
    "FLAIR": (0.13, 0.66, 0.52, -0.10),
    "T2starw": (0.80, 0.55, 0.47, -0.10),
}


def scanned(
    contrast: np.ndarray, brain: np.ndarray, grid: Grid, rng: np.random.Generator, suffix: str
) -> np.ndarray:
    """An image as a scanner would give it: tissue intensities, bias field, noise; uint8.

    Args:
        contrast: (X, Y, Z) float32, the template's T1w contrast, which tells the tissues apart.
        brain: (X, Y, Z) bool; what is outside is black.
        suffix: the contrast of the image.
    """
    *levels, detail = _TISSUES[suffix]
    image = painted(contrast, np.array(levels) + 0.02 * rng.standard_normal(3), detail)
    bias = np.exp(smooth_field(rng, centred_axes(grid.shape, grid.spacing), 70, 0.07))
    noise = rng.uniform(0.008, 0.025) * rng.standard_normal(grid.shape, dtype=np.float32)
    image = np.clip(image * bias + noise, 0.02, 1)
    return np.where(brain, np.round(255 * image), 0).astype(np.uint8)


def as_contrast(contrast: np.ndarray, suffix: str) -> np.ndarray:
    """The template's T1w contrast, (X, Y, Z) of 0..1, as it would be in another."""
    *levels, detail = _TISSUES[suffix]
    return painted(contrast, np.array(levels), detail)


def painted(contrast: np.ndarray, levels: np.ndarray, detail: float) -> np.ndarray:
    """The template's T1w contrast with fluid, grey and white matter of these levels, (3,)."""
    fluid, grey, white = levels
    steps = 1 / (1 + np.exp(-(contrast - CSF_GREY) / 0.045))
    image = fluid + (grey - fluid) * steps
    image += (white - grey) / (1 + np.exp(-(contrast - GREY_WHITE) / 0.03))
    return np.asarray(image + detail * (contrast - 0.7))


def smooth_field(
    rng: np.random.Generator, axes: Sequence[np.ndarray], knot_spacing: float, std: float
) -> np.ndarray:
    """A smooth random field, (X, Y, Z): cubic B-splines with independent normal coefficients.

    Args:
        axes: positions along x, y and z, mm from the middle; the field is a function of them
            and of `rng`, and not of how finely it is sampled.
        knot_spacing: mm between knots.
        std: standard deviation of the field.
    """
    count = 2 * int(np.ceil(_LATTICE_HALF / knot_spacing)) + 4
    field = rng.standard_normal((count, count, count))
    for axis, positions in enumerate(axes):
        along = positions / knot_spacing + (count - 1) / 2
        first = np.floor(along).astype(int) - 1  # the first of the four knots that reach here
        distance = np.abs(along - first - np.arange(4)[:, None])  # (4, positions)
        basis = np.where(
            distance < 1,
            2 / 3 - distance**2 + distance**3 / 2,
            np.maximum(2 - distance, 0) ** 3 / 6,
        )
        basis /= np.sqrt((basis**2).sum(axis=0))  # unit variance everywhere
        shape = [-1 if other == axis else 1 for other in range(3)]
        field = sum(
            weight.reshape(shape) * np.take(field, first + k, axis=axis)
            for k, weight in enumerate(basis)
        )
    return std * field
