"""How well a scan fits the MNI152 template where a registration puts it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ldm.anatomy.pyramid import Working, level, template, tissues
from ldm.contrasts import T1W

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
            lie. T2w scans that are taken for T1w are negative.
        covered: share of the template's brain where the scan has signal.
    """

    correlation: float
    contrast: float
    covered: float


def fit(matrix: np.ndarray, scan: Working, suffix: str = T1W) -> Fit:
    """How well `scan` fits under (4, 4) `matrix`, MNI mm to its world mm.

    A T1w scan is compared with the template. For another contrast there is none: the scan is
    explained by the template's grey and white matter, as bright as fits best (the two
    correlations are multiple ones), and where they and fluid do not come out in the order of
    brightness that the contrast has, `contrast` is negative.
    """
    import SimpleITK as sitk

    transform = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    known = template().t1[_SPACING]
    moved = sitk.Resample(level(scan.image, _SPACING), known, transform, sitk.sitkLinear, 0.0)
    seen = sitk.GetArrayFromImage(moved)
    around = sitk.GetArrayViewFromImage(template().masks["wide"][_SPACING]) > 0
    brain, inside, contrast = _known()
    covered = float((seen[inside] > _SEEN).mean())
    local = _contrast(seen, brain)[inside]
    if suffix == T1W:
        wanted = sitk.GetArrayFromImage(known)[around]
        return Fit(
            correlation=_correlation(seen[around], wanted),
            contrast=_correlation(local, contrast),
            covered=covered,
        )
    maps, local_maps = _tissues()
    everywhere, _ = _explained(seen[around], maps)
    within, (grey, white) = _explained(local, local_maps)
    return Fit(
        correlation=everywhere,
        contrast=within if _ORDERS[suffix](grey, white) else -within,
        covered=covered,
    )


# Whether grey and white matter, each less fluid, have the order of the contrast. The cortex is thin
# and mixed with fluid: grey is 0.87 to 0.98 of white in FLAIR, where it is brighter, and 0.3 to 0.7
# in T1w.
_ORDERS = {
    "T2w": lambda grey, white: grey < 0 and white < 0,
    "PDw": lambda grey, white: grey > white,
    "FLAIR": lambda grey, white: grey > 0.78 * white > 0,
    "T2starw": lambda grey, white: grey < 0 and white < 0,
}


def _correlation(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.corrcoef(found, wanted)[0, 1]) if found.std() > 0 else 0.0


def _explained(found: np.ndarray, maps: np.ndarray) -> tuple[float, np.ndarray]:
    """The multiple correlation of (N,) with (K, N), and the weights of the first two of those."""
    design = np.stack([*maps, np.ones(len(found))], axis=1)
    weights, *_ = np.linalg.lstsq(design, found, rcond=None)
    return _correlation(found, design @ weights), weights[:2]


@lru_cache(maxsize=1)
def _known() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The template's brain, what of it is not its edge, and the template's contrast there."""
    import SimpleITK as sitk
    from scipy import ndimage

    brain = sitk.GetArrayFromImage(template().brain_at(_SPACING)) > 0
    inside = ndimage.binary_erosion(brain)
    return brain, inside, _contrast(sitk.GetArrayFromImage(template().t1[_SPACING]), brain)[inside]


@lru_cache(maxsize=1)
def _tissues() -> tuple[np.ndarray, np.ndarray]:
    """The template's tissues in the brain and around it, (3, N), fluid as well, and the local
    contrast of grey and white matter inside the brain, (2, M)."""
    import SimpleITK as sitk

    around = sitk.GetArrayViewFromImage(template().masks["wide"][_SPACING]) > 0
    brain, inside, _ = _known()
    grey, white = (sitk.GetArrayFromImage(level(image, _SPACING)) for image in tissues())
    fluid = np.clip(brain - grey - white, 0, 1)
    local = [_contrast(one, brain)[inside] for one in (grey, white)]
    return np.stack([one[around] for one in (grey, white, fluid)]), np.stack(local)


def _contrast(image: Any, brain: np.ndarray) -> np.ndarray:
    """`image` less its mean nearby, inside the brain."""
    from scipy import ndimage

    sigma = _NEAR / _SPACING
    weight = ndimage.gaussian_filter(brain.astype(np.float32), sigma)
    mean = ndimage.gaussian_filter(image * brain, sigma) / np.maximum(weight, 1e-3)
    return np.asarray(image - mean)
