"""Local means, variances and covariance of volumes under a Gaussian window, in torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

SIGMA = 1.5  # voxels; Wang et al. 2004, section III.B


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of two batches of volumes, at every place where the window fits: each (B, X', Y', Z')."""

    mean_a: Tensor
    mean_b: Tensor
    variance_a: Tensor
    variance_b: Tensor
    covariance: Tensor


@lru_cache(maxsize=16)
def gaussian(size: int, sigma: float = SIGMA) -> Tensor:
    """A Gaussian window of `size` taps that sum to 1, float32."""
    place = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    taps = torch.exp(-((place / sigma) ** 2) / 2)
    return taps / taps.sum()


def blur(volumes: Tensor, size: int) -> Tensor:
    """(B, X, Y, Z) under the window, one axis after another; each side loses size - 1 voxels."""
    taps = gaussian(size)
    return along_axes(volumes, taps, taps, taps)


def along_axes(volumes: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """(B, X, Y, Z) filtered along each axis by its taps, where they fit.

    As products with banded matrices, which a CPU does in half the time of convolutions.
    """
    across, along, down = (
        _band(taps, n, volumes) for taps, n in zip((x, y, z), volumes.shape[1:], strict=True)
    )
    found = volumes @ down.T  # (B, X, Y, Z')
    found = along @ found  # (B, X, Y', Z')
    return (across @ found.flatten(2)).unflatten(2, (along.shape[0], down.shape[0]))


def _band(taps: Tensor, side: int, like: Tensor) -> Tensor:
    """The matrix (side - len(taps) + 1, side) whose rows hold `taps`, each one further on."""
    rows = side - len(taps) + 1
    place = torch.arange(len(taps)) + torch.arange(rows)[:, None]
    return torch.zeros(rows, side).scatter_(1, place, taps.expand(rows, -1)).to(like)


def moments(a: Tensor, b: Tensor, size: int) -> Moments:
    """The local moments of `a` and `b`, each (B, X, Y, Z); variances as E[x^2] - E[x]^2."""
    found = blur(torch.cat([a, b, a * a, b * b, a * b]), size)
    mean_a, mean_b, square_a, square_b, product = found.chunk(5)
    return Moments(
        mean_a=mean_a,
        mean_b=mean_b,
        variance_a=square_a - mean_a * mean_a,
        variance_b=square_b - mean_b * mean_b,
        covariance=product - mean_a * mean_b,
    )


def gradient_magnitude(volumes: Tensor) -> Tensor:
    """Sobel's gradient magnitude of (B, X, Y, Z) in intensity a voxel; sides lose two voxels.

    In 3D: the central difference along one axis, smoothed by (1, 2, 1) / 4 along the other two.
    """
    smooth, slope = torch.tensor([0.25, 0.5, 0.25]), torch.tensor([-0.5, 0.0, 0.5])
    x = along_axes(volumes, slope, smooth, smooth)
    y = along_axes(volumes, smooth, slope, smooth)
    z = along_axes(volumes, smooth, smooth, slope)
    return (x * x + y * y + z * z).sqrt()
