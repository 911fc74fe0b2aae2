"""Measuring by an atlas: MNI152's ventricles, bent onto the subject, where they are dark."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np

from ldm.anatomy.pyramid import SPACING, level, template, to_itk
from ldm.anatomy.registration import register
from ldm.volumes.background import settled

# Iterations of the demons at each level, mm.
_ITERATIONS = {8: 60, 4: 50, 2: 20}
_SMOOTH = 1.5  # voxels: standard deviation of the field's smoothing
_WITHIN = 3.0  # mm from the atlas's wall a voxel may still be ventricle
# Where between the means of cerebrospinal fluid (0) and grey matter (1) brain begins. A voxel
# half fluid, half white matter looks grey: along the ventricles everything up to 1 is fluid.
_FLUID_BELOW, _BRAIN_ABOVE = 1.0, 0.3
_BACKGROUND = 0.3  # share of voxels at the least value from which a brain counts as cut out


def measure_by_atlas(image: nib.Nifti1Image) -> dict[str, float]:
    """Lateral ventricles, and grey with white matter, in mm3.

    The template is registered with 12 degrees of freedom and then by symmetric demons
    (Vercauteren et al. 2008) at 8, 4 and 2 mm. Ventricle is what is darker than grey matter within
    3 mm of the template's ventricles; brain what is brighter than fluid inside the brain, which is
    where the image is not black if it is skull-stripped, and else the template's brain.

    Raises:
        LdmError: the registration fails.
    """
    from scipy import ndimage

    scan = nib.as_closest_canonical(image)
    data, _ = settled(np.asarray(scan.dataobj, dtype=np.float32))
    data = data - data.min()
    affine = np.asarray(scan.affine, dtype=np.float64)
    lattice = np.diag([SPACING] * 3 + [1.0])
    lattice[:3, 3] = template().origin
    into = np.linalg.inv(register(data, affine).affine @ affine) @ lattice
    points = _bent(_pull(data, into, template().brain.shape))
    back = np.linalg.inv(into)

    def on_scan(atlas: np.ndarray) -> np.ndarray:
        bent = ndimage.map_coordinates(atlas, points, order=1, mode="nearest")
        return _pull(bent, back, data.shape, outside=float(atlas.max()))

    wall = on_scan(_ventricles())
    brain = on_scan(1 - template().brain.astype(np.float32)) < 0.5
    if np.mean(data <= data.min()) > _BACKGROUND:
        brain = data > data.min()
    fluid, grey, _ = _tissues(data[brain])
    ventricles = (wall < _WITHIN) & brain & (data < fluid + _FLUID_BELOW * (grey - fluid))
    tissue = brain & (data > fluid + _BRAIN_ABOVE * (grey - fluid)) & ~(ventricles & (wall < -1))
    voxel = abs(float(np.linalg.det(affine[:3, :3])))
    return {
        "ventricular_volume": float(ventricles.sum()) * voxel,
        "brain_volume": float(tissue.sum()) * voxel,
    }


def _pull(
    data: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], outside: float = 0.0
) -> np.ndarray:
    from scipy import ndimage

    found: np.ndarray = ndimage.affine_transform(
        data,
        matrix[:3, :3],
        matrix[:3, 3],
        shape,
        order=1,
        mode="grid-constant",
        cval=outside,
        output=np.float32,
    )
    return found


def _ventricles() -> np.ndarray:
    """Signed distance (mm) to the template's lateral ventricles, on its 2 mm lattice."""
    from ldm.anatomy.mni152 import load_anatomy

    return load_anatomy().ventricles


def _tissues(values: np.ndarray) -> tuple[float, float, float]:
    """Mean intensity of cerebrospinal fluid, grey and white matter, by k-means."""
    from sklearn.cluster import KMeans

    start = np.percentile(values, [10, 50, 85])[:, None]
    some = values[:: max(1, values.size // 50_000)]
    centres = KMeans(3, init=start, n_init=1).fit(some[:, None]).cluster_centers_
    fluid, grey, white = np.sort(centres.ravel())
    return float(fluid), float(grey), float(white)


def _bent(scan: np.ndarray) -> np.ndarray:
    """Where each voxel of the template's lattice, seen in `scan`, lies in the template, (3, ...).

    Args:
        scan: (X, Y, Z) on the template's lattice after an affine registration.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    atlas = template()
    seen = scan * ndimage.binary_dilation(atlas.brain, iterations=2)
    known = sitk.GetArrayViewFromImage(atlas.t1[2]).T
    theirs = _tissues(seen[seen > 0.02 * seen.max()])
    ours = _tissues(known[atlas.brain])
    alike = np.interp(seen, [0, *theirs, 1.3 * theirs[2]], [0, *ours, 1.1 * ours[2]])
    field = _demons(to_itk(alike.astype(np.float32), atlas.origin), atlas.t1[2])
    shift = sitk.GetArrayFromImage(field).T / SPACING
    return np.asarray(np.indices(scan.shape) + shift)


def _demons(fixed: Any, moving: Any) -> Any:
    import SimpleITK as sitk

    field = None
    for spacing, iterations in _ITERATIONS.items():
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfThreads(1)
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(_SMOOTH)
        pair = [level(fixed, spacing), level(moving, spacing)]
        if field is not None:
            pair.append(sitk.Resample(field, pair[0]))
        field = demons.Execute(*pair)
    return field
