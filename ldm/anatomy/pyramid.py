"""The images that registration compares: the MNI152 template and a scan, at 2, 4 and 8 mm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ldm.anatomy.virtual.scanner import as_contrast
from ldm.contrasts import T1W
from ldm.errors import LdmError
from ldm.volumes.resampling import smoothed_for

SPACING = 2.0  # mm, of the finest level
LEVELS = (8, 4, 2)  # mm
_EVEN = 15.0  # mm, standard deviation of the neighbourhood whose mean brightness is evened out
_TISSUE = 0.1  # of a scan's range: darker is none
# Voxels of 2 mm around the brain that are compared too: `wide` shows a brain's outline, against
# which a head's scalp would be drawn.
_RIMS = {"wide": {8: 4, 4: 4, 2: 3}, "narrow": {8: 1, 4: 1, 2: 1}}
# MNI mm on which the middle of a head begins: between the deepest point of the template's
# brain (0, -36, 18) and that of a whole head (1, -22, 13).
_START = (0.0, -29.0, 16.0)


@dataclass(frozen=True, kw_only=True)
class Template:
    """The template by level, in mm.

    Attributes:
        t1: SimpleITK images, float32 in 0..1, brain only.
        masks: by rim, "wide" or "narrow", SimpleITK images, uint8, 1 in the brain and that rim.
        brain: (X, Y, Z) bool at 2 mm.
        origin: MNI mm of the first voxel's centre at 2 mm, (3,).
        centre: MNI mm of the brain's centre of mass, (3,).
        start: MNI mm where a scan's deepest point is put to begin with, (3,).
    """

    t1: dict[int, Any]
    masks: dict[str, dict[int, Any]]
    brain: np.ndarray
    origin: np.ndarray
    centre: np.ndarray
    start: np.ndarray

    def brain_at(self, spacing: int) -> Any:
        """The brain as a SimpleITK image, uint8, at 2, 4 or 8 mm."""
        import SimpleITK as sitk

        image = to_itk(self.brain.astype(np.uint8), self.origin)
        return sitk.Shrink(image, [spacing // int(SPACING)] * 3)


@dataclass(frozen=True, kw_only=True)
class Working:
    """A scan at 2 mm along the world's axes: `image` (SimpleITK, 0..1) and its deepest point."""

    image: Any
    centre: np.ndarray


@lru_cache(maxsize=1)
def template() -> Template:
    """MNI ICBM 152 2009a nonlinear symmetric, T1w, brain only, as nilearn ships it."""
    import SimpleITK as sitk
    from nilearn.datasets import load_mni152_template
    from scipy import ndimage

    loaded = load_mni152_template(resolution=int(SPACING))
    t1 = np.asarray(loaded.dataobj, dtype=np.float32)
    t1 = t1 / t1.max()
    brain = ndimage.binary_fill_holes(t1 > 0.02)
    origin = np.asarray(loaded.affine[:3, 3], dtype=np.float64)
    masks = {
        name: {
            mm: sitk.Shrink(
                to_itk(ndimage.binary_dilation(brain, iterations=wide).astype(np.uint8), origin),
                [mm // int(SPACING)] * 3,
            )
            for mm, wide in rim.items()
        }
        for name, rim in _RIMS.items()
    }
    return Template(
        t1={mm: level(to_itk(t1, origin), mm) for mm in LEVELS},
        masks=masks,
        brain=brain,
        origin=origin,
        centre=origin + SPACING * np.mean(np.nonzero(brain), axis=1),
        start=np.array(_START),
    )


@lru_cache(maxsize=8)
def template_as(suffix: str) -> dict[int, Any]:
    """The template by level, as it would be in another contrast than its own T1w."""
    import SimpleITK as sitk

    if suffix == T1W:
        return template().t1
    t1 = sitk.GetArrayFromImage(template().t1[int(SPACING)]).T
    painted = np.where(template().brain, as_contrast(t1, suffix), 0).astype(np.float32)
    return {mm: level(to_itk(painted, template().origin), mm) for mm in LEVELS}


@lru_cache(maxsize=1)
def tissues() -> tuple[Any, Any]:
    """Grey and white matter of the template, 0..1: SimpleITK images, float32, at 2 mm."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    loaders = (load_mni152_gm_template, load_mni152_wm_template)
    maps = [np.asarray(load(resolution=int(SPACING)).dataobj, dtype=np.float32) for load in loaders]
    grey, white = (to_itk(one / one.max(), template().origin) for one in maps)
    return grey, white


def to_itk(data: np.ndarray, origin: np.ndarray, spacing: float = SPACING) -> Any:
    """(X, Y, Z) as a SimpleITK image whose physical space is the world, RAS mm."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    image.SetOrigin([float(value) for value in origin])
    image.SetSpacing([spacing] * 3)
    return image


def level(image: Any, spacing: int) -> Any:
    """A 2 mm image smoothed and thinned to 4 or 8 mm."""
    import SimpleITK as sitk

    if spacing == SPACING:
        return image
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, 0.425 * spacing), [spacing // 2] * 3)


def working_image(data: np.ndarray, affine: np.ndarray) -> Working:
    """A scan of any orientation, obliqueness or voxel size, ready to be registered.

    Raises:
        LdmError: nothing in it is brighter than its background.
    """
    from scipy.ndimage import affine_transform

    low, high = np.percentile(data[data > data.min()], (1, 99.5))
    if not high > low:
        raise LdmError("registration failed: two grey levels only, expected a scan")
    grey = np.clip((data - low) / (high - low), 0, 1).astype(np.float32)
    grey = smoothed_for(SPACING, grey, affine)
    box = [np.nonzero((grey > 0.1).any(axis=(i - 2, i - 1)))[0][[0, -1]] for i in range(3)]
    corners = np.stack([axis.ravel() for axis in np.meshgrid(*box)] + [np.ones(8)])
    world = (affine @ corners)[:3]
    origin = world.min(axis=1) - SPACING
    shape = np.ceil((world.max(axis=1) + SPACING - origin) / SPACING).astype(int) + 1
    place = np.diag([SPACING] * 3 + [1.0])
    place[:3, 3] = origin
    matrix = np.linalg.inv(affine) @ place
    found = affine_transform(
        grey, matrix[:3, :3], matrix[:3, 3], tuple(shape), order=1, mode="grid-constant", cval=0.0
    )
    return Working(image=to_itk(found, origin), centre=_deepest(found, origin))


def enlarged(scan: Working, factor: float) -> Working:
    """The scan as if every millimetre of its world were `factor` millimetres."""
    import SimpleITK as sitk

    image = sitk.Image(scan.image)
    image.SetSpacing([factor * side for side in image.GetSpacing()])
    image.SetOrigin([factor * value for value in image.GetOrigin()])
    return Working(image=image, centre=factor * scan.centre)


def evened(scan: Working) -> Working:
    """The scan with its tissue as bright everywhere: no bias field is left, nor the largest dark or
    bright parts."""
    import SimpleITK as sitk
    from scipy import ndimage

    grey = sitk.GetArrayFromImage(scan.image)
    tissue = (grey > _TISSUE).astype(np.float32)
    weight = ndimage.gaussian_filter(tissue, _EVEN / SPACING)
    nearby = ndimage.gaussian_filter(grey * tissue, _EVEN / SPACING) / np.maximum(weight, 1e-3)
    even = np.where(tissue > 0, np.clip(0.55 * grey / np.maximum(nearby, _TISSUE), 0, 1), 0)
    image = sitk.GetImageFromArray(even.astype(np.float32))
    image.CopyInformation(scan.image)
    return Working(image=image, centre=scan.centre)


def _deepest(data: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The point of the head farthest from its surface, (3,) world mm.

    That is in the cranium however the head is turned, and however much neck there is.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    small = ndimage.gaussian_filter(data, 1.0)[::2, ::2, ::2]
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(small))
    head = np.pad(small > 0.5 * otsu.GetThreshold(), 6)
    head = ndimage.binary_fill_holes(ndimage.binary_closing(head, iterations=3))
    parts, count = ndimage.label(head)
    if not count:
        raise LdmError("registration failed: the scan holds no head to align")
    depth = ndimage.distance_transform_edt(parts == 1 + np.bincount(parts.ravel())[1:].argmax())
    weight = np.maximum(depth - 0.9 * depth.max(), 0)
    middle = np.array([(i * weight).sum() for i in np.indices(weight.shape)]) / weight.sum()
    return np.asarray(origin + 2 * SPACING * (middle - 6))
