"""Rigid registration of a scan, whole head or brain only, to the MNI152 template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ldm.anatomy.fit import Fit, fit
from ldm.anatomy.pyramid import (
    Working,
    enlarged,
    evened,
    level,
    template,
    template_as,
    working_image,
)
from ldm.contrasts import T1W
from ldm.errors import LdmError

# The angles (degrees) about each axis from which the search begins: 7 x 7 x 7 rotations.
START_STEP, START_STEPS = 18.0, 3
KEPT = 10  # of those, the best are refined
# Of `ldm.anatomy.fit`: a scan whose contrast fits the template's worse is listed instead of trained
# on, and after one that fits so well no other attempt is made. True fits of T1w scans reach 0.4
# (large ventricles) to 0.8; heads that lie otherwise than their header says stay below 0.2.
LEAST_CONTRAST, SURE_CONTRAST = 0.3, 0.45
# The same of another contrast, explained by two tissues. Virtual subjects in place: T2w 0.58 to
# 0.66, FLAIR 0.33 to 0.52, PDw 0.42 to 0.48; a centimetre off, or otherwise than their header says,
# 0.34 (an inverted T1w scan), 0.20 and 0.14 at most.
LEAST_EXPLAINED = {"T2w": 0.36, "T2starw": 0.36, "FLAIR": 0.27, "PDw": 0.27}
LEAST_COVERED = 0.8  # of the template's brain: less is half a head
# How much larger the scan is taken, what is compared around the brain when the search begins and
# in its refinement, and whether the scan is evened out first. The second finds small heads whose
# scalp lies where the template's brain has its edge, the third what a strong bias field or
# a bad mask hides.
_ATTEMPTS = (
    (1.0, "wide", "narrow", False),
    (1.15, "narrow", "narrow", False),
    (1.15, "narrow", "narrow", True),
)
# Of other contrasts: bright fluid around the brain fits the template's edge only where that edge
# is seen whole, which a scalp as bright must not hide.
_OTHER_ATTEMPTS = (
    (1.0, "wide", "wide", False),
    (1.0, "wide", "narrow", False),
    (1.15, "narrow", "narrow", True),
)
_SIZES = (0.6, 1.6)  # stretch along any direction between a person and the template
_ROTATION_SCALE = 70.0  # mm from the middle of the brain to its edge: what a radian moves
_BINS = 32  # of the joint histogram


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Where a scan lies in MNI space.

    Attributes:
        rigid: (4, 4) float64, the scan's world mm to MNI mm: a rotation and a shift.
        affine: (4, 4) float64, the same with 12 degrees of freedom.
        correlation: of the scan with the template, in the brain and 8 mm around it, at 4 mm
            and after `affine`.
        contrast: the same of local contrast inside the brain alone, which tells a true fit; see
            `ldm.anatomy.fit.Fit`.
    """

    rigid: np.ndarray
    affine: np.ndarray
    correlation: float
    contrast: float

    @property
    def head_scale(self) -> float:
        """Volume of the template's head over that of the subject's: the affine's determinant."""
        return float(np.linalg.det(self.affine[:3, :3]))


class _Target(NamedTuple):
    """What a scan is registered to: an image, and where it is compared; SimpleITK both."""

    image: Any
    mask: Any


def register(data: np.ndarray, affine: np.ndarray, suffix: str = T1W) -> Registration:
    """Register a scan to MNI152; the same input gives the same numbers, on one thread.

    Mutual information (Mattes et al. 2003) is maximised over the template's brain: from 343
    rotations up to 54 degrees about each axis at 8 mm, rigidly at 4 mm, then with 12 degrees of
    freedom at 4 and 2 mm. The refinement looks 2 mm around the brain, lest a head's scalp is drawn
    against the brain's edge; where that does not fit, other beginnings are tried and the best fit
    is taken. The rigid part of it is the registration, as in the ACPC alignment of the Human
    Connectome Project's pipelines (Glasser et al. 2013): it scales nothing, and a head smaller
    than the template still lies in its middle.

    A scan whose header says left where the head has right is registered as well as any other:
    heads are too symmetric to tell.

    Args:
        data: (X, Y, Z) float32, any voxel size.
        affine: (4, 4) voxel to world mm, RAS, any orientation.
        suffix: the contrast; one that the image does not have is refused (`ldm.anatomy.fit`).

    Raises:
        LdmError: the result is not plausible, or the image holds no head to look at.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    scan = working_image(data, affine)
    return _checked(*_best(scan, suffix), suffix)


def register_beside(
    data: np.ndarray,
    affine: np.ndarray,
    suffix: str,
    known: Registration,
    other: np.ndarray,
    other_affine: np.ndarray,
) -> Registration:
    """Register a scan by way of another of the same person, whose registration is known.

    The two are aligned rigidly by mutual information inside the brain, at first as their headers
    place them, for scans of one session share their world. Where that does not fit the template
    the scan is registered alone, and the two are aligned from there.

    Args:
        data, affine, suffix: of the scan, as in `register`.
        known: the registration of the other.
        other, other_affine: the other, usually a T1w scan.

    Raises:
        LdmError: as `register`.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    scan, fixed = working_image(data, affine), working_image(other, other_affine)
    from_mni = np.linalg.inv(known.affine)
    alone = None
    for begun in (np.eye(4), None):
        if begun is None:
            alone = register(data, affine, suffix)
            begun = np.linalg.inv(alone.rigid) @ known.rigid
        try:
            moved = _aligned(begun, scan, fixed, from_mni)
        except RuntimeError:  # ITK: too few voxels of the two images overlap
            continue
        found = fit(moved @ from_mni, scan, suffix)
        if found.contrast >= _least(suffix) and found.covered >= LEAST_COVERED:
            back = np.linalg.inv(moved)
            return Registration(
                rigid=known.rigid @ back,
                affine=known.affine @ back,
                correlation=found.correlation,
                contrast=found.contrast,
            )
    assert alone is not None
    return alone


def _aligned(begun: np.ndarray, scan: Working, fixed: Working, from_mni: np.ndarray) -> np.ndarray:
    """The rigid motion `begun`, from the world of `fixed` to the scan's, refined; (4, 4)."""
    import SimpleITK as sitk

    moved = sitk.Euler3DTransform()
    moved.SetCenter((from_mni @ [*template().centre, 1])[:3].tolist())
    moved.SetMatrix(begun[:3, :3].ravel().tolist(), 1e-6)
    about = np.array(moved.GetCenter())
    moved.SetTranslation((begun[:3, :3] @ about + begun[:3, 3] - about).tolist())
    to_mni = np.linalg.inv(from_mni)
    place = sitk.AffineTransform(to_mni[:3, :3].ravel().tolist(), to_mni[:3, 3].tolist())
    for spacing, step, least in ((8, 4.0, 0.3), (4, 2.0, 0.1), (2, 0.5, 0.02)):
        image = level(fixed.image, spacing)
        near = sitk.sitkNearestNeighbor
        mask = sitk.Resample(template().masks["narrow"][spacing], image, place, near, 0.0)
        method = _method(moved, mask)
        _descend(method, moved, step=step, iterations=40, least=least)
        _execute(method, _Target(image, mask), scan, spacing=spacing)
    return _matrix(moved)


def _best(scan: Working, suffix: str = T1W) -> tuple[np.ndarray, Fit]:
    """The best of the attempts, MNI mm to the scan's world mm, and how well it fits."""
    found: list[tuple[np.ndarray, Fit]] = []
    for size, rim, fine, even in _ATTEMPTS if suffix == T1W else _OTHER_ATTEMPTS:
        seen = enlarged(evened(scan) if even else scan, size)
        try:
            matrix = np.diag([1 / size] * 3 + [1.0]) @ _fitted(
                _searched(seen, rim, suffix), seen, fine, suffix
            )
        except RuntimeError:  # ITK: too few voxels of the two images overlap
            continue
        found.append((matrix, fit(matrix, scan, suffix)))
        if found[-1][1].contrast >= SURE_CONTRAST:
            break
    if not found:
        raise LdmError("registration failed: the scan holds no head to align")
    return max(found, key=lambda one: one[1].contrast)


def _fitted(begun: Any, scan: Working, rim: str, suffix: str) -> np.ndarray:
    """The rigid transform `begun`, refined and widened to 12 degrees of freedom."""
    import SimpleITK as sitk

    rigid = sitk.Euler3DTransform(begun)
    _refine(rigid, scan, rim, suffix, spacing=4, step=2.0, iterations=30, least=0.3)
    full = sitk.AffineTransform(3)
    full.SetCenter(rigid.GetCenter())
    full.SetMatrix(rigid.GetMatrix())
    full.SetTranslation(rigid.GetTranslation())
    _refine(full, scan, rim, suffix, spacing=4, step=0.5, iterations=100, least=0.02)
    _refine(full, scan, rim, suffix, spacing=2, step=0.5, iterations=40, least=0.02)
    return _matrix(full)


def _searched(scan: Working, rim: str, suffix: str) -> Any:
    """The best of many starting rotations, each refined at 8 mm."""
    import SimpleITK as sitk

    start = sitk.Euler3DTransform()
    start.SetCenter(template().start.tolist())
    start.SetTranslation((scan.centre - template().start).tolist())
    found: list[tuple[float, tuple[float, ...]]] = []
    target = _template(rim, suffix, spacing=8)
    method = _method(start, target.mask)
    method.SetOptimizerAsExhaustive([START_STEPS] * 3 + [0] * 3)
    method.SetOptimizerScales([np.radians(START_STEP)] * 3 + [1.0] * 3)
    method.AddCommand(
        sitk.sitkIterationEvent,
        lambda: found.append((method.GetMetricValue(), method.GetOptimizerPosition())),
    )
    _execute(method, target, scan, spacing=8)
    results = []
    for _, position in sorted(found)[:KEPT]:
        transform = sitk.Euler3DTransform(start)
        transform.SetParameters(position)
        value = _refine(transform, scan, rim, suffix, spacing=8, step=4.0, iterations=40, least=0.3)
        results.append((value, transform.GetParameters()))
    best = sitk.Euler3DTransform(start)
    best.SetParameters(min(results)[1])
    return best


def _refine(
    transform: Any,
    scan: Working,
    rim: str,
    suffix: str,
    *,
    spacing: int,
    step: float,
    iterations: int,
    least: float,
) -> float:
    """Improve `transform` in place; returns the metric, less is better."""
    target = _template(rim, suffix, spacing=spacing)
    method = _method(transform, target.mask)
    _descend(method, transform, step=step, iterations=iterations, least=least)
    _execute(method, target, scan, spacing=spacing)
    return float(method.GetMetricValue())


def _template(rim: str, suffix: str, *, spacing: int) -> _Target:
    return _Target(template_as(suffix)[spacing], template().masks[rim][spacing])


def _method(transform: Any, mask: Any) -> Any:
    """Mutual information inside the mask; improves `transform` in place."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(mask)
    method.SetMetricSamplingStrategy(method.NONE)  # every voxel: no draw, no seed
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform, True)
    return method


def _descend(method: Any, transform: Any, *, step: float, iterations: int, least: float) -> None:
    """Steps in mm at the brain's edge, halved at each turn, down to `least`."""
    turning = len(transform.GetParameters()) - 3
    method.SetOptimizerAsRegularStepGradientDescent(step, least, iterations, 0.5, 1e-6)
    method.SetOptimizerScales([_ROTATION_SCALE**2] * turning + [1.0] * 3)


def _execute(method: Any, target: _Target, scan: Working, *, spacing: int) -> None:
    method.Execute(target.image, level(scan.image, spacing))


def _matrix(transform: Any) -> np.ndarray:
    """(4, 4): MNI mm to the scan's world mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _least(suffix: str) -> float:
    return LEAST_CONTRAST if suffix == T1W else LEAST_EXPLAINED[suffix]


def _checked(matrix: np.ndarray, found: Fit, suffix: str) -> Registration:
    left, sizes, right = np.linalg.svd(matrix[:3, :3])
    if not _SIZES[0] <= sizes.min() <= sizes.max() <= _SIZES[1]:
        raise LdmError(
            f"registration failed: the head would be {sizes.min():.2f} to {sizes.max():.2f} times "
            f"the template's size, expected {_SIZES[0]} to {_SIZES[1]}"
        )
    if not found.contrast >= _least(suffix):
        raise LdmError(
            f"registration failed: correlation of the brain's contrast with the MNI152 template "
            f"{found.contrast:.2f}, expected at least {_least(suffix)}; is it a {suffix} image, "
            f"its header right?"
        )
    if not found.covered >= LEAST_COVERED:
        raise LdmError(
            f"registration failed: the scan shows {100 * found.covered:.0f} % of the brain, "
            f"expected at least {100 * LEAST_COVERED:.0f} %; is a part of the head cut off?"
        )
    middle = template().centre
    rigid = np.eye(4)
    rigid[:3, :3] = left @ right
    rigid[:3, 3] = matrix[:3, :3] @ middle + matrix[:3, 3] - rigid[:3, :3] @ middle
    return Registration(
        rigid=np.linalg.inv(rigid),
        affine=np.linalg.inv(matrix),
        correlation=found.correlation,
        contrast=found.contrast,
    )
