"""Real anatomy put elsewhere: turned, shifted, its voxels stretched and their axes reordered."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np
import SimpleITK as sitk
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


def brain() -> nib.Nifti1Image:
    """The template's brain at 2 mm, in place, 0..1."""
    place = np.diag([SPACING] * 3 + [1.0])
    place[:3, 3] = template().origin
    return nib.Nifti1Image(sitk.GetArrayFromImage(template().t1[2]).T, place)


def whole_head(*, defaced: bool = False, neck: float = 70.0) -> nib.Nifti1Image:
    """The template's brain in a made-up head at 2 mm, 0..1000: scalp, face, `neck` mm of neck.

    The scalp is as bright as white matter, and what is nearer to the coil (in front and above) is
    brighter, as in many a scan of a whole head. `defaced` blackens the face.
    """
    core = brain()
    low, wide = int(neck / SPACING), 12
    data = np.pad(np.asarray(core.dataobj), ((wide, wide), (wide, wide), (low, wide)))
    place = core.affine.copy()
    place[:3, 3] -= SPACING * np.array([wide, wide, low])
    x, y, z = (
        SPACING * index + first
        for index, first in zip(np.indices(data.shape), place[:3, 3], strict=True)
    )
    away = SPACING * ndimage.distance_transform_edt(data < 0.02)
    face = ((x / 55) ** 2 + ((y - 55) / 45) ** 2 + ((z + 50) / 55) ** 2 < 1) & (away > 6)
    trunk = ((x / 60) ** 2 + ((y + 25) / 60) ** 2 < 1) & (z < -55) & (away > 6)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(data.shape), 2)
    soft = 0.45 + 3 * noise
    head = np.where(face | trunk, soft, data)
    head = np.where((away > 6) & (away <= 14), 0.9 + noise, head)
    if defaced:
        head[(y > 30) & (z < -20) & (away > 4)] = 0
    coil = 1 + 0.005 * y + 0.003 * z
    air = np.abs(np.random.default_rng(1).normal(0, 12, data.shape))
    return nib.Nifti1Image((1000 * head.clip(0) * coil.clip(0.3) + air).astype(np.float32), place)
