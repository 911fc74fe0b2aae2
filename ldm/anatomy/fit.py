"""How well a scan fits the MNI152 template where a registration puts it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ldm.anatomy.pyramid import Working, level, template

_SPACING = 4  # mm, at which the two are compared
_NEAR = 12.0  # mm, standard deviation of the neighbourhood whose mean is taken off
_SEEN = 0.1  # of the scan's range: darker is no tissue


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well a scan fits.

    Attributes:
        correlation: of the two images in the brain and 8 mm around it, -1..1.
        contrast: the same of both less their mean within some 12 mm, inside the brain: neither
            the brain's outline nor a bias field counts, but where grey and white matter and fluid
            lie. T2w scans are negative.
        covered: share of the template's brain where the scan has signal.
    """

    correlation: float
    contrast: float
    covered: float


def fit(matrix: np.ndarray, scan: Working) -> Fit:
    """How well `scan` fits under (4, 4) `matrix`, MNI mm to its world mm."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    known = template().t1[_SPACING]
    moved = sitk.Resample(level(scan.image, _SPACING), known, transform, sitk.sitkLinear, 0.0)
    seen, wanted = (sitk.GetArrayFromImage(image) for image in (moved, known))
    around = sitk.GetArrayViewFromImage(template().masks["wide"][_SPACING]) > 0
    brain, inside, contrast = _known()
    return Fit(
        correlation=_correlation(seen[around], wanted[around]),
        contrast=_correlation(_contrast(seen, brain)[inside], contrast),
        covered=float((seen[inside] > _SEEN).mean()),
    )


def _correlation(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.corrcoef(found, wanted)[0, 1]) if found.std() > 0 else 0.0


@lru_cache(maxsize=1)
def _known() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The template's brain, what of it is not its edge, and the template's contrast there."""
    import SimpleITK as sitk
    from scipy import ndimage

    brain = sitk.GetArrayFromImage(template().brain_at(_SPACING)) > 0
    inside = ndimage.binary_erosion(brain)
    return brain, inside, _contrast(sitk.GetArrayFromImage(template().t1[_SPACING]), brain)[inside]


def _contrast(image: Any, brain: np.ndarray) -> np.ndarray:
    """`image` less its mean nearby, inside the brain."""
    from scipy import ndimage

    sigma = _NEAR / _SPACING
    weight = ndimage.gaussian_filter(brain.astype(np.float32), sigma)
    mean = ndimage.gaussian_filter(image * brain, sigma) / np.maximum(weight, 1e-3)
    return np.asarray(image - mean)
