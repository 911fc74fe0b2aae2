"""Real anatomy put elsewhere: turned, shifted, its voxels stretched and their axes reordered."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ldm.anatomy.pyramid import SPACING, template


def turned(
    image: nib.Nifti1Image,
    *,
    seed: int,
    degrees: float,
    shift: float,
    sides: Sequence[float],
    axes: str,
) -> tuple[nib.Nifti1Image, np.ndarray]:
    """`image` as another scanner might store it, and the (4, 4) motion of its world mm.

    It is turned by `degrees` about a random axis and shifted by up to `shift` mm along each,
    cut into voxels of `sides` mm, and stored in the order `axes`, such as "PIR".
    """
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(
        np.radians(degrees) * axis / np.linalg.norm(axis)
    ).as_matrix()
    motion[:3, 3] = rng.uniform(-shift, shift, 3)
    data = np.asarray(image.dataobj, dtype=np.float32)
    place = motion @ image.affine
    ends = np.array(np.meshgrid(*((0, side - 1) for side in data.shape))).reshape(3, -1)
    world = place[:3, :3] @ ends + place[:3, 3:]
    lattice = np.diag([*sides, 1.0])
    lattice[:3, 3] = world.min(axis=1)
    shape = tuple(np.ceil(np.ptp(world, axis=1) / np.array(sides)).astype(int) + 1)
    into = np.linalg.inv(place) @ lattice
    cut = ndimage.affine_transform(data, into[:3, :3], into[:3, 3], shape, order=1)
    order = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    return nib.Nifti1Image(cut, lattice).as_reoriented(order), motion


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """How far two motions of the world are apart: degrees, and mm where it is most in the brain."""
    apart = found @ np.linalg.inv(expected)
    turn = Rotation.from_matrix(apart[:3, :3]).magnitude()
    voxels = np.array(np.nonzero(template().brain))[:, ::97]
    points = SPACING * voxels + template().origin[:, None]
    moved = apart[:3, :3] @ points + apart[:3, 3:] - points
    return float(np.degrees(turn)), float(np.sqrt((moved**2).sum(axis=0)).max())
