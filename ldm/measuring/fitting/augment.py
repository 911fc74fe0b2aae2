"""Random contrast, resolution and shape for the segmenter's training (Billot et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ldm import noise
from ldm.measuring.box import SPACING, normalise
from ldm.volumes.resampling import blurred, centred_axes, coarsening_sigma, mirrored, rotation

_TURN = (20.0, 10.0, 10.0)  # degrees: heads lie in a scanner nodding more than turned
_SHIFT = 6.0  # mm
_STRETCH = 0.08  # standard deviation of the size's logarithm; half of it along each axis
_BEND, _KNOTS = 2.0, (6, 7, 6)  # mm: standard deviation of the field's knots
_COARSEST = 4.0  # mm


def draws(seed: int, step: int, positions: range) -> Iterator[np.random.Generator]:
    """The chance of each sample of a batch, a function of the seed, the step and its position."""
    for position in positions:
        yield noise.generator(noise.AUGMENT, seed, step, position)


def sample(
    image: np.ndarray,
    maps: np.ndarray,
    rng: np.random.Generator,
    *,
    strong: float,
    synthetic: float,
) -> tuple[np.ndarray, np.ndarray]:
    """What a training is shown of a subject: an image (X, Y, Z) and its label maps (M, X, Y, Z).

    Args:
        maps: the last of them the parts for synthetic contrasts.
        strong: share that is bent, and of any contrast and resolution; the others are nearly as
            scanned.
        synthetic: share of the strong ones whose contrast is made from the parts, not the image.
    """
    if rng.random() >= strong:
        image, maps = moved(image, maps, rng)
        return scanned(image, rng, strength=0.3), np.ascontiguousarray(maps)
    made = rng.random() < synthetic
    image, maps = warp(image, maps, rng)
    if made:
        image = contrast(maps[-1], rng)
    return scanned(image, rng), np.ascontiguousarray(maps)


def moved(
    image: np.ndarray, maps: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An image (X, Y, Z) and its label maps (M, X, Y, Z), mirrored half the time and moved by
    whole voxels, so that the image stays as sharp as it is."""
    image, maps = mirrored(rng, image, maps)
    steps = [int(step) for step in rng.integers(-2, 3, 3)]
    return np.roll(image, steps, (0, 1, 2)), np.roll(maps, steps, (1, 2, 3))


def warp(
    image: np.ndarray, maps: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An image (X, Y, Z) and its label maps (M, X, Y, Z), turned, stretched and bent alike."""
    shape = image.shape
    image, maps = mirrored(rng, image, maps)
    points = _points(shape, rng)
    half = torch.tensor([SPACING * (side - 1) / 2 for side in shape], dtype=torch.float32)
    grid = (points / half).flip(-1)[None]  # grid_sample wants z, y, x in -1..1
    moved = functional.grid_sample(_tensor(image), grid, "bilinear", "zeros", align_corners=True)
    known = functional.grid_sample(_tensor(maps), grid, "nearest", "zeros", align_corners=True)
    return moved[0, 0].numpy(), known[0].to(torch.uint8).numpy()


def _points(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Where each voxel is read, (X, Y, Z, 3) mm from the middle of the box."""
    turn = rotation(np.deg2rad(np.clip(rng.standard_normal(3), -2, 2) * np.array(_TURN) / 1.5))
    size = np.exp(_STRETCH * rng.standard_normal() + _STRETCH / 2 * rng.standard_normal(3))
    shift = rng.uniform(-_SHIFT, _SHIFT, 3)
    axes = [torch.from_numpy(axis).float() for axis in centred_axes(shape, SPACING)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    matrix = torch.from_numpy(turn / size).float()
    bend = _BEND * rng.uniform(0, 1.5) * rng.standard_normal((1, 3, *_KNOTS))
    field = functional.interpolate(
        torch.from_numpy(bend).float(), shape, mode="trilinear", align_corners=True
    )
    moved: Tensor = points @ matrix.T + torch.from_numpy(shift).float() + field[0].movedim(0, -1)
    return moved


def contrast(parts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image (X, Y, Z) of the parts of a label map: each of a random brightness and texture.

    Half of them have the order of T1w, in the other half anything may be brighter.
    """
    count = int(parts.max()) + 1
    mean = rng.uniform(0.1, 1.0, count)
    spread = rng.uniform(0.0, 0.08, count)
    mean[0], spread[0] = 0.0, 0.0
    texture = rng.standard_normal(parts.shape, dtype=np.float32)
    image = mean.astype(np.float32)[parts] + spread.astype(np.float32)[parts] * texture
    return blurred(np.maximum(image, 0), rng.uniform(0.3, 0.8))


def scanned(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """What another scanner, or another network, would have made of an image: float32, normalised.

    A gamma curve, a bias field, noise in the brain; for half of the images, times `strength`, a
    lower resolution along all axes or one.
    """
    brain = image > 0.02
    seen = np.clip(image, 0, 1.2) ** np.exp(0.25 * strength * rng.standard_normal())
    knots = strength * rng.uniform(0, 0.25) * rng.standard_normal((1, 1, 4, 4, 4))
    bias = functional.interpolate(
        torch.from_numpy(knots).float(), image.shape, mode="trilinear", align_corners=True
    )
    seen = seen * np.exp(bias[0, 0].numpy())
    if rng.random() < 0.5 * strength:
        seen = _coarser(seen, rng)
    noise = 0.06 * strength * rng.uniform() * rng.standard_normal(image.shape, dtype=np.float32)
    if rng.random() < 0.2:
        noise = 2 * blurred(noise, rng.uniform(0.3, 0.8))
    elsewhere = 1.0 if rng.random() < 0.1 * strength else 0.0
    return normalise(np.maximum(seen + noise * np.where(brain, 1.0, elsewhere), 0))


def _coarser(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sampled at up to `_COARSEST` mm and interpolated back; or only blurred, as decoders blur."""
    spacing = np.full(3, SPACING)
    if rng.random() < 0.3:
        return blurred(image, rng.uniform(0.3, 0.9))
    if rng.random() < 0.7:
        spacing[:] = rng.uniform(SPACING, 0.8 * _COARSEST)
    else:
        spacing[rng.integers(3)] = rng.uniform(SPACING, 1.25 * _COARSEST)
    sigma = coarsening_sigma(SPACING, spacing)
    shape = [max(8, round(n * SPACING / s)) for n, s in zip(image.shape, spacing, strict=True)]
    small = functional.interpolate(
        _tensor(blurred(image, sigma)), shape, mode="trilinear", align_corners=True
    )
    back = functional.interpolate(small, image.shape, mode="trilinear", align_corners=True)
    return back[0, 0].numpy()


def _tensor(array: np.ndarray) -> Tensor:
    """(1, C, X, Y, Z) float32."""
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return tensor[None, None] if tensor.ndim == 3 else tensor[None]
