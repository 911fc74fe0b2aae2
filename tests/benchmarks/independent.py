"""A cohort registered twice, by brainpress and by antspyx: how far apart do they put each brain?

    python -m tests.benchmarks.registration --bids COHORT [--skull-strip] [--picture MOSAIC.png]

The independent registration is antspyx's (`pip install antspyx`; without it only brainpress's own
figures are told): N4, then mutual information, rigid and with 12 degrees of freedom from the
centres of mass, brain to brain. Of both the rigid part about the template's middle is compared:
degrees, millimetres at that middle, and where it is most in the brain.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ldm.anatomy.pyramid import template
from ldm.anatomy.registration import register
from ldm.anatomy.skull import brain_mask
from ldm.errors import LdmError
from ldm.training.presets import demo
from ldm.volumes.background import masked, settled
from ldm.volumes.conversion import read_image, to_grid
from ldm.volumes.previews import mosaic
from tests.ldm.heads import brain, difference

# The last level, where a step costs most, only polishes.
_LEVELS = {
    "aff_iterations": (500, 300, 20),
    "aff_shrink_factors": (4, 2, 1),
    "aff_smoothing_sigmas": (2, 1, 0),
    "aff_random_sampling_rate": 0.3,
    "random_seed": 1,
}
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def compare(bids: Path, *, skull_strip: bool, picture: Path | None) -> None:
    """A line a subject of `bids`, then the median and the worst; `picture` is all of them."""
    with_ants = importlib.util.find_spec("ants") is not None
    if not with_ants:
        print("antspyx is not installed: nothing to compare with")
    apart, seconds, volumes = [], [], []
    paths = sorted(bids.glob("sub-*/**/*_T1w.nii*"))
    for path in paths:
        data, affine = read_image(path)
        data, _ = settled(data)
        begun = time.process_time()
        try:
            found = register(data, affine)
        except LdmError as error:
            print(f"{path.name}: {error}", flush=True)
            continue
        seconds.append(time.process_time() - begun)
        if skull_strip:
            data = masked(data, brain_mask(data, affine, found.rigid))
        grid = demo().grid
        volumes.append(to_grid(data, found.rigid @ affine, grid, placement="affine", order=3))
        told = f"correlation {found.correlation:.3f} contrast {found.contrast:.3f}"
        if with_ants:
            other = rigid_part(by_ants(data, affine))
            degrees, most = difference(found.rigid, other)
            middle = found.rigid @ np.linalg.inv(other) @ [*template().centre, 1]
            apart.append((degrees, float(np.linalg.norm(middle[:3] - template().centre)), most))
            told += " apart {:.2f} deg, {:.2f} mm in the middle, {:.2f} mm at most".format(
                *apart[-1]
            )
        print(f"{path.name}: {told}, {seconds[-1]:.1f} s", flush=True)
    print(f"{len(seconds)} of {len(paths)} placed, {np.median(seconds):.1f} s a subject")
    for name, figures in (("median", np.median), ("worst", np.max)):
        if apart:
            told = figures(np.array(apart), axis=0)
            print("{}: {:.2f} deg, {:.2f} mm in the middle, {:.2f} mm at most".format(name, *told))
    if picture:
        picture.write_bytes(mosaic(volumes))


def rigid_part(affine: np.ndarray) -> np.ndarray:
    """The rotation and shift nearest to `affine` that put the same point on the template's middle.

    Args:
        affine: (4, 4) world mm to MNI mm.
    """
    left, _, right = np.linalg.svd(affine[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = left @ right
    middle = (np.linalg.inv(affine) @ [*template().centre, 1])[:3]
    rigid[:3, 3] = template().centre - rigid[:3, :3] @ middle
    return rigid


def by_ants(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(4, 4) world mm to MNI mm, 12 degrees of freedom, of a brain (X, Y, Z) without its head."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    import ants

    with tempfile.TemporaryDirectory() as folder:

        def image(name: str, voxels: np.ndarray, place: np.ndarray) -> Any:
            nib.save(nib.Nifti1Image(np.float32(voxels - voxels.min()), place), f"{folder}/{name}")
            return ants.image_read(f"{folder}/{name}")

        fixed = image("fixed.nii", np.asarray(brain().dataobj), brain().affine)
        moving = image("moving.nii", data, affine)
        inside = ants.threshold_image(moving, 1e-6 * float(data.max()), 1e30)
        moving = ants.n4_bias_field_correction(moving, mask=inside, shrink_factor=4)
        if min(moving.spacing) < 1.9:
            moving = ants.resample_image(ants.smooth_image(moving, 0.5), (2, 2, 2), False, 0)
        rigid = ants.registration(fixed, moving, "Rigid", **_LEVELS)["fwdtransforms"][0]
        full = ants.registration(fixed, moving, "Affine", initial_transform=rigid, **_LEVELS)
        transform = ants.read_transform(full["fwdtransforms"][0])
    into = np.eye(4)
    into[:3, :3] = np.reshape(transform.parameters[:9], (3, 3))
    centre = np.array(transform.fixed_parameters)
    into[:3, 3] = transform.parameters[9:] + centre - into[:3, :3] @ centre
    return np.linalg.inv(_TO_LPS @ into @ _TO_LPS)
