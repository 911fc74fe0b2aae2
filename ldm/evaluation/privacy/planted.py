"""Planted leaks: volumes made of training subjects, by which an audit's power is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from ldm import noise
from ldm.volumes.resampling import axis_rotations, blurred, coarsening_sigma, mirrored

EACH = 24  # leaks of every make
ANGLE, SHIFT = 5.0, 4.0  # degrees about each axis and mm along it, at most
BEND, CELL = 3.0, 40.0  # mm: standard deviation of a smooth bending, and between its knots
LOW = 5.0  # mm, of a copy of lower resolution

Make = Callable[[Sequence[np.ndarray], float, np.random.Generator], np.ndarray]


def _moved(people: Sequence[np.ndarray], spacing: float, rng: np.random.Generator) -> np.ndarray:
    return displaced(people[0], spacing, rng, bend=0.0)


def _bent(people: Sequence[np.ndarray], spacing: float, rng: np.random.Generator) -> np.ndarray:
    return displaced(people[0], spacing, rng, bend=BEND)


def _coarse(people: Sequence[np.ndarray], spacing: float, rng: np.random.Generator) -> np.ndarray:
    sigma = coarsening_sigma(spacing, max(LOW, 2 * spacing))
    return blurred(displaced(people[0], spacing, rng, bend=BEND), sigma, mode="constant")


def _blended(people: Sequence[np.ndarray], spacing: float, rng: np.random.Generator) -> np.ndarray:
    both = [displaced(person, spacing, rng, bend=BEND) for person in people[:2]]
    return np.asarray((both[0] + both[1]) / 2)


# By name: what is made of one person, or of two.
MAKES: dict[str, Make] = {
    "moved": _moved,
    "bent": _bent,
    "bent, at half the resolution": _coarse,
    "blended of two, both bent": _blended,
}


def plant(make: str, people: Sequence[np.ndarray], spacing: float, key: int) -> np.ndarray:
    """A leak (X, Y, Z) float32 of two subjects (X, Y, Z), of whom most makes take the first.

    Args:
        make: of `MAKES`.
        spacing: mm between voxels.
        key: another gives another leak of the same make.
    """
    rng = noise.generator(noise.EVALUATION, 1, list(MAKES).index(make), key)
    return np.ascontiguousarray(MAKES[make](people, spacing, rng), dtype=np.float32)


def displaced(
    volume: np.ndarray, spacing: float, rng: np.random.Generator, *, bend: float
) -> np.ndarray:
    """A volume (X, Y, Z) mirrored half the time, turned, shifted, and bent smoothly.

    Args:
        bend: standard deviation of each component of the bending, mm.
    """
    (volume,) = mirrored(rng, volume)
    shape = np.array(volume.shape)
    about_x, about_y, about_z = axis_rotations(np.deg2rad(rng.uniform(-ANGLE, ANGLE, 3)))
    matrix = torch.from_numpy(about_x @ about_y @ about_z).float()
    shift = torch.from_numpy(rng.uniform(-SHIFT, SHIFT, 3) / spacing).float()
    knots = rng.standard_normal(
        (1, 3, *(int(np.ceil(shape[i] * spacing / CELL)) + 3 for i in range(3)))
    )
    field = functional.interpolate(
        torch.from_numpy(knots).float(), volume.shape, mode="trilinear", align_corners=True
    )[0]
    field *= bend / spacing / float(field.std())
    axes = [torch.arange(side, dtype=torch.float32) - (side - 1) / 2 for side in volume.shape]
    at = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    at = torch.einsum("ij,jxyz->ixyz", matrix, at) + shift.view(3, 1, 1, 1) + field
    halves = torch.tensor([(side - 1) / 2 for side in volume.shape]).view(3, 1, 1, 1)
    places = (at / halves).flip(0).permute(1, 2, 3, 0)[None]
    whole = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
    return np.asarray(functional.grid_sample(whole, places, align_corners=True)[0, 0].numpy())
