"""Rigid registration of a T1w scan, whole head or brain only, to the MNI152 template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ldm.anatomy.pyramid import Working, level, template, working_image
from ldm.errors import LdmError

# The angles (degrees) about each axis from which the search begins: 7 x 7 x 7 rotations.
START_STEP, START_STEPS = 18.0, 3
KEPT = 10  # of those, the best are refined
# A scan that fits the template worse than this is listed instead of trained on. True fits of
# heads and brains reach 0.79 and more; upside-down ones 0.71, a ball of a head's size 0.75.
LEAST_CORRELATION = 0.76
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
    """

    rigid: np.ndarray
    affine: np.ndarray
    correlation: float

    @property
    def head_scale(self) -> float:
        """Volume of the template's head over that of the subject's: the affine's determinant."""
        return float(np.linalg.det(self.affine[:3, :3]))


def register(data: np.ndarray, affine: np.ndarray) -> Registration:
    """Register a scan to MNI152; the same input gives the same numbers, on one thread.

    Mutual information (Mattes et al. 2003) is maximised over the template's brain and a rim
    around it: from 343 rotations up to 54 degrees about each axis at 8 mm, rigidly at 4 mm, then
    with 12 degrees of freedom at 4 and 2 mm. The rigid part of that fit is the registration, as
    in the ACPC alignment of the Human Connectome Project's pipelines (Glasser et al. 2013): it
    scales nothing, and a head smaller than the template still lies in its middle.

    A scan whose header says left where the head has right is registered as well as any other:
    heads are too symmetric to tell.

    Args:
        data: (X, Y, Z) float32, any voxel size.
        affine: (4, 4) voxel to world mm, RAS, any orientation.

    Raises:
        LdmError: the result is not plausible, or the image holds no head to look at.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    scan = working_image(data, affine)
    start = sitk.Euler3DTransform()
    start.SetCenter(template().start.tolist())
    start.SetTranslation((scan.centre - template().start).tolist())
    rigid = _refined(_searched(start, scan), scan, spacing=4, step=2.0, iterations=30, least=0.3)
    full = sitk.AffineTransform(3)
    full.SetCenter(rigid.GetCenter())
    full.SetMatrix(rigid.GetMatrix())
    full.SetTranslation(rigid.GetTranslation())
    full = _refined(full, scan, spacing=4, step=0.5, iterations=100, least=0.02)
    full = _refined(full, scan, spacing=2, step=0.5, iterations=40, least=0.02)
    return _checked(_matrix(full), scan)


def _searched(start: Any, scan: Working) -> Any:
    """The best of many starting rotations, each refined at 8 mm."""
    import SimpleITK as sitk

    found: list[tuple[float, tuple[float, ...]]] = []
    method = _method(start, spacing=8)
    method.SetOptimizerAsExhaustive([START_STEPS] * 3 + [0] * 3)
    method.SetOptimizerScales([np.radians(START_STEP)] * 3 + [1.0] * 3)
    method.AddCommand(
        sitk.sitkIterationEvent,
        lambda: found.append((method.GetMetricValue(), method.GetOptimizerPosition())),
    )
    _execute(method, scan, spacing=8)
    results = []
    for _, position in sorted(found)[:KEPT]:
        transform = sitk.Euler3DTransform(start)
        transform.SetParameters(position)
        refine = _method(transform, spacing=8)
        _descend(refine, transform, step=4.0, iterations=40, least=0.3)
        _execute(refine, scan, spacing=8)
        results.append((refine.GetMetricValue(), transform.GetParameters()))
    best = sitk.Euler3DTransform(start)
    best.SetParameters(min(results)[1])
    return best


def _refined(
    transform: Any, scan: Working, *, spacing: int, step: float, iterations: int, least: float
) -> Any:
    method = _method(transform, spacing=spacing)
    _descend(method, transform, step=step, iterations=iterations, least=least)
    _execute(method, scan, spacing=spacing)
    return transform


def _method(transform: Any, *, spacing: int) -> Any:
    """Mutual information inside the template's mask; improves `transform` in place."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(template().mask[spacing])
    method.SetMetricSamplingStrategy(method.NONE)  # every voxel: no draw, no seed
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform, True)
    return method


def _descend(method: Any, transform: Any, *, step: float, iterations: int, least: float) -> None:
    """Steps in mm at the brain's edge, halved at each turn, down to `least`."""
    turning = len(transform.GetParameters()) - 3
    method.SetOptimizerAsRegularStepGradientDescent(step, least, iterations, 0.5, 1e-6)
    method.SetOptimizerScales([_ROTATION_SCALE**2] * turning + [1.0] * 3)


def _execute(method: Any, scan: Working, *, spacing: int) -> None:
    try:
        method.Execute(template().t1[spacing], level(scan.image, spacing))
    except RuntimeError:  # ITK: too few voxels of the two images overlap
        raise LdmError("registration failed: the scan holds no head to align") from None


def _matrix(transform: Any) -> np.ndarray:
    """(4, 4): MNI mm to the scan's world mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _checked(matrix: np.ndarray, scan: Working) -> Registration:
    left, sizes, right = np.linalg.svd(matrix[:3, :3])
    if not _SIZES[0] <= sizes.min() <= sizes.max() <= _SIZES[1]:
        raise LdmError(
            f"registration failed: the head would be {sizes.min():.2f} to {sizes.max():.2f} times "
            f"the template's size, expected {_SIZES[0]} to {_SIZES[1]}"
        )
    correlation = _correlation(matrix, scan)
    if not correlation >= LEAST_CORRELATION:
        raise LdmError(
            f"registration failed: correlation with the MNI152 template {correlation:.2f}, "
            f"expected at least {LEAST_CORRELATION}; is it a T1w image, its header right?"
        )
    middle = template().centre
    rigid = np.eye(4)
    rigid[:3, :3] = left @ right
    rigid[:3, 3] = matrix[:3, :3] @ middle + matrix[:3, 3] - rigid[:3, :3] @ middle
    return Registration(
        rigid=np.linalg.inv(rigid), affine=np.linalg.inv(matrix), correlation=correlation
    )


def _correlation(matrix: np.ndarray, scan: Working) -> float:
    import SimpleITK as sitk

    transform = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    fixed, mask = template().t1[4], sitk.GetArrayViewFromImage(template().mask[4]) > 0
    moved = sitk.Resample(level(scan.image, 4), fixed, transform, sitk.sitkLinear, 0.0)
    found, wanted = (sitk.GetArrayViewFromImage(image)[mask] for image in (moved, fixed))
    return float(np.corrcoef(found, wanted)[0, 1]) if found.std() > 0 else 0.0
