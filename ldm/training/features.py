"""The network whose features are the perceptual loss's where none can be fetched: it learns to
restore blurred and noisy pieces of the cohort's own volumes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ldm import noise
from ldm.errors import LdmError
from ldm.training.config import TrainingConfig
from ldm.training.distance import FeatureDistance
from ldm.volumes.conversion import dequantise
from ldm.volumes.resampling import blurred, mirrored

# The worst that is done to a piece: blur in voxels, noise in intensities of 0..1.
LARGEST_BLUR, LARGEST_NOISE = 1.5, 0.1
# Blurs, in voxels, that validation expects to be told apart by their distance.
RISING_BLURS = (0.4, 0.7, 1.0)


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """The feature network.

    Attributes:
        channels: width of each level; every level but the first halves the sides.
        piece: side of the cubes it trains on, voxels.
    """

    channels: tuple[int, ...]
    piece: int

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise LdmError(
                f"feature channels {self.channels}: expected one or more, each 1 or more"
            )
        if self.piece < 1 or self.piece % self.factor:
            raise LdmError(f"feature piece {self.piece}: expected a multiple of {self.factor}")

    @property
    def factor(self) -> int:
        """What every side of a volume must divide by."""
        return int(2 ** (len(self.channels) - 1))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> FeatureConfig:
        return cls(**{**document, "channels": tuple(document["channels"])})


class FeatureNetwork(nn.Module):
    """A small U-Net that restores volumes; its way down gives the features.

    It has no normalisation layers: a feature is a function of the voxels around it alone, the
    same in a piece it was trained on and in a whole volume with its air.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        self.down = nn.ModuleList(
            _level(before, width, stride)
            for before, width, stride in zip(
                (1, *widths), widths, (1, *[2] * len(widths)), strict=False
            )
        )
        self.up = nn.ModuleList(
            nn.Conv3d(below, width, 3, padding=1) for width, below in itertools.pairwise(widths)
        )
        self.out = nn.Conv3d(widths[0], 1, 3, padding=1)

    def features(self, volume: Tensor) -> list[Tensor]:
        """Of (B, 1, X, Y, Z): (B, C_i, X/2^i, Y/2^i, Z/2^i) for every level i."""
        found = []
        for level in self.down:
            volume = level(volume)
            found.append(volume)
        return found

    def forward(self, volume: Tensor) -> Tensor:
        """The volume restored, of its shape."""
        *skips, hidden = self.features(volume)
        for skip, rise in zip(reversed(skips), reversed(self.up), strict=True):
            hidden = functional.silu(skip + functional.interpolate(rise(hidden), scale_factor=2.0))
        return volume + self.out(hidden).float()


def _level(before: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, width, 3, stride=stride, padding=1),
        nn.SiLU(),
        nn.Conv3d(width, width, 3, padding=1),
        nn.SiLU(),
    )


class FeatureTask:
    """Restore pieces of prepared volumes from blur and noise (Vincent et al. 2008).

    Telling how sharp a border was and what it divides is what a perceptual distance needs to
    know; it takes no labels, and a minute or two on two cores.
    """

    def __init__(
        self, paths: Sequence[Path], network: FeatureConfig, config: TrainingConfig
    ) -> None:
        self.paths = list(paths)
        self.count = len(self.paths)
        self.network = network
        self.config = config

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`clean` and `spoilt` (B, 1, p, p, p), p the piece's side."""
        clean, spoilt = [], []
        for index, position in zip(indices, positions, strict=True):
            rng = noise.generator(noise.AUGMENT, self.config.seed, step, position)
            found = piece(np.load(self.paths[index], mmap_mode="r"), self.network.piece, rng)
            clean.append(found)
            spoilt.append(spoil(found, rng))
        return {
            name: torch.from_numpy(np.stack(volumes)[:, None])
            for name, volumes in (("clean", clean), ("spoilt", spoilt))
        }

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L1 a voxel between what is restored and what was there."""
        return (model(samples["spoilt"]) - samples["clean"]).abs().mean(), {}


def piece(levels: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A cube of a 12-bit volume round a random voxel of the head, at random mirrored; float32.

    Where the volume is smaller than the cube, its whole side, padded with air.
    """
    head = np.argwhere(levels[::4, ::4, ::4] > 0.1 * 4095) * 4
    middle = head[rng.integers(len(head))] if len(head) else np.array(levels.shape) // 2
    corner = np.clip(middle - side // 2, 0, np.maximum(np.array(levels.shape) - side, 0))
    cut = dequantise(np.asarray(levels[tuple(slice(c, c + side) for c in corner)]))
    (cut,) = mirrored(rng, np.pad(cut, [(0, side - n) for n in cut.shape]))
    return np.ascontiguousarray(cut)


def spoil(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The volume blurred by up to `LARGEST_BLUR` and with noise of up to `LARGEST_NOISE`."""
    soft = blurred(volume, rng.uniform(0, LARGEST_BLUR), mode="nearest")
    drawn = rng.standard_normal(volume.shape, np.float32)
    return np.asarray(soft + np.float32(rng.uniform(0, LARGEST_NOISE)) * drawn)


@torch.inference_mode()
def validate(
    network: FeatureNetwork, paths: Sequence[Path], seed: int, device: torch.device
) -> dict[str, float]:
    """Sums over one piece of each volume, and their count.

    `l1` of what is restored, `l1_spoilt` of what it was given, and `ordered`: 1 where the
    perceptual distance to the piece rises with every blur of `RISING_BLURS`.
    """
    distance = FeatureDistance(network.features)
    sums = {"l1": 0.0, "l1_spoilt": 0.0, "ordered": 0.0, "count": 0.0}
    for number, path in enumerate(paths):
        rng = noise.generator(noise.AUGMENT, seed, 1 << 32, number)
        clean = piece(np.load(path, mmap_mode="r"), network.config.piece, rng)
        rising = (blurred(clean, sigma, mode="nearest") for sigma in RISING_BLURS)
        steps = [clean, spoil(clean, rng), *rising]
        wanted, spoilt, *softer = (torch.from_numpy(v)[None, None].to(device) for v in steps)
        sums["l1"] += float((network(spoilt) - wanted).abs().mean())
        sums["l1_spoilt"] += float((spoilt - wanted).abs().mean())
        found = [float(distance(volume, wanted)) for volume in softer]
        sums["ordered"] += float(all(a < b for a, b in itertools.pairwise(found)))
        sums["count"] += 1
    return sums
