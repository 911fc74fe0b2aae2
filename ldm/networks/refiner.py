"""Local networks, of convolutions told the time: the refiner after a decoder, the U-Net's branch.

A file that needs PyTorch alone: an exported bundle takes it along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CELL = 2  # voxels a side of a Haar cell
BANDS = CELL**3  # one of means, seven of differences
AXES = (2, 3, 4)  # x, y and z of a batch
_FREQUENCIES, _LARGEST = 32, 1000.0
_STEPS = 1000  # time steps that a branch reads as 1


class Refiner(nn.Module):
    """What a decoded volume lacks, drawn from noise: cascaded diffusion (Ho et al. 2022, JMLR
    23:47), on the volume's Haar cells and in the neighbourhood of every voxel alone.

    A U-Net without attention is told the noisy rest, the blurred volume and the latent that it was
    decoded from, and says the velocity from rest to noise (Lipman et al. 2023). An untrained one
    says nothing.

    Args:
        latent_channels: of the latent.
        channels: width of each level; the first has half the volume's sides, every later one half
            of those of the one before. The latent comes in at the second.
        num_res_blocks: residual blocks a level on the way up; one on the way down.
        norm_num_groups: of the group normalisation.

    Attributes:
        rest_std, blurred_std: (8,) deviations of the cells' bands, by which it sees all alike.
        latent_mean, latent_std: (C,) of the latent. All are kept with the weights.
    """

    rest_std: Tensor
    blurred_std: Tensor
    latent_mean: Tensor
    latent_std: Tensor

    def __init__(
        self,
        *,
        latent_channels: int,
        channels: Sequence[int],
        num_res_blocks: int,
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        first, *deeper = channels
        told = 2 * first

        def blocks(width: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(Block(width, told, norm_num_groups) for _ in range(count))

        pairs = list(pairwise(channels))
        self.time = _clock(told)
        self.first = nn.Conv3d(2 * BANDS, first, kernel_size=3, padding=1)
        self.latent = nn.Conv3d(latent_channels, deeper[0], kernel_size=1)
        self.down_blocks = nn.ModuleList(blocks(width, 1) for width in channels)
        self.downs = nn.ModuleList(nn.Conv3d(a, b, kernel_size=2, stride=2) for a, b in pairs)
        self.ups = nn.ModuleList(
            nn.ConvTranspose3d(b, a, kernel_size=2, stride=2) for a, b in pairs
        )
        self.up_blocks = nn.ModuleList(blocks(width, num_res_blocks) for width in channels[:-1])
        self.norm = nn.GroupNorm(norm_num_groups, first)
        self.last = _nothing(nn.Conv3d(first, BANDS, kernel_size=3, padding=1))
        for name in ("rest_std", "blurred_std"):
            self.register_buffer(name, torch.ones(1, BANDS, 1, 1, 1))
        self.register_buffer("latent_mean", torch.zeros(1, latent_channels, 1, 1, 1))
        self.register_buffer("latent_std", torch.ones(1, latent_channels, 1, 1, 1))

    def standardise(self, **values: Sequence[float]) -> None:
        """Work in these units from now on: some of the attributes, per channel."""
        for name, found in values.items():
            getattr(self, name).copy_(torch.tensor(list(found)).view(1, -1, 1, 1, 1))

    def forward(self, noisy: Tensor, time: Tensor, blurred: Tensor, latent: Tensor) -> Tensor:
        """The velocity, (B, 8, x, y, z).

        Args:
            noisy: (B, 8, x, y, z), the rest in its own deviations and noise.
            time: (B,), from 0, the rest, to 1, noise.
            blurred: (B, 8, x, y, z), cells of the decoded volume in their own deviations.
            latent: (B, C, ...), standardised.
        """
        told = self.time(_waves(time))
        inputs = torch.cat([noisy, blurred], dim=1)
        found = self.first(inputs.contiguous(memory_format=torch.channels_last_3d))
        kept: list[Tensor] = []
        down_blocks: Any = self.down_blocks
        up_blocks: Any = self.up_blocks
        for level, blocks in enumerate(down_blocks):
            for block in blocks:
                found = block(found, told)
            if level == len(self.downs):
                break
            kept.append(found)
            found = self.downs[level](found)
            if level == 0:
                found = found + self.latent(_as_wide(latent, found))
        for level in reversed(range(len(self.ups))):
            found = kept[level] + self.ups[level](found)
            for block in up_blocks[level]:
                found = block(found, told)
        velocity: Tensor = self.last(functional.silu(self.norm(found)))
        return velocity

    def refine(
        self,
        blurred: Tensor,
        latent: Tensor,
        noise: Tensor,
        steps: int,
        predict: Callable[..., Tensor] | None = None,
    ) -> Tensor:
        """A volume with fine structure, (B, 1, X, Y, Z) float32, not clipped.

        Steps of the second order from noise at time 1 to the rest at 0, a call each (Adams &
        Bashforth; Hairer, Norsett & Wanner 1993, III.1); the first, which has no velocity before
        it, is Euler's.

        Args:
            blurred: (B, 1, X, Y, Z), as decoded.
            latent: (B, C, x, y, z) that it was decoded from, in the autoencoder's scale.
            noise: N(0, 1) of `noise_shape`.
            steps: calls of the network.
            predict: this network, or what stands for it.
        """
        predict = predict or self
        volume = blurred.float()
        cells = to_cells(volume) / self.blurred_std
        latent = (latent.float() - self.latent_mean) / self.latent_std
        rest, before = noise.float(), None
        for step in range(steps):
            time = torch.full((len(rest),), 1 - step / steps, device=rest.device)
            velocity = predict(rest, time, cells, latent).float()
            rest = rest - (velocity if before is None else 1.5 * velocity - 0.5 * before) / steps
            before = velocity
        return volume + from_cells(rest * self.rest_std)


class Branch(nn.Module):
    """What a U-Net of wide tokens lacks: residual blocks on the latent's own voxels, which see the
    noisy latent and the U-Net's prediction and add to it. An untrained one adds nothing.

    A token of such a U-Net is many voxels wide and holds more values than it has channels; what
    fits together from one voxel to the next is the same all over the brain, and is learnt from few
    people by convolutions (Kamb & Ganguli 2024, arXiv 2412.20292, on what locality does).

    Args:
        latent_channels: of the latent.
        channels: width.
        blocks: residual blocks; each widens what a voxel sees by two on every side.
        norm_num_groups: of the group normalisation.
    """

    def __init__(
        self, *, latent_channels: int, channels: int, blocks: int, norm_num_groups: int
    ) -> None:
        super().__init__()
        told = 2 * channels
        self.time = _clock(told)
        self.first = nn.Conv3d(2 * latent_channels, channels, kernel_size=3, padding=1)
        self.blocks = nn.ModuleList(Block(channels, told, norm_num_groups) for _ in range(blocks))
        self.norm = nn.GroupNorm(norm_num_groups, channels)
        self.last = _nothing(nn.Conv3d(channels, latent_channels, kernel_size=3, padding=1))

    def forward(self, noisy: Tensor, prediction: Tensor, step: Tensor) -> Tensor:
        """The prediction and what is added, (B, C, x, y, z).

        Args:
            noisy, prediction: (B, C, x, y, z).
            step: (B,) integer time step.
        """
        told = self.time(_waves(step.float() / _STEPS))
        inputs = torch.cat([noisy, prediction.to(noisy.dtype)], dim=1)
        found = self.first(inputs.contiguous(memory_format=torch.channels_last_3d))
        for block in self.blocks:
            found = block(found, told)
        added: Tensor = self.last(functional.silu(self.norm(found)))
        return prediction + added


class Block(nn.Module):
    """Two convolutions, each after group norm and SiLU, and what came in; the second is told the
    time by scale and shift (Dhariwal & Nichol 2021)."""

    def __init__(self, width: int, told: int, norm_num_groups: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(norm_num_groups, width) for _ in range(2))
        self.told = nn.Linear(told, 2 * width)
        convolutions = (nn.Conv3d(width, width, kernel_size=3, padding=1) for _ in range(2))
        self.convolutions = nn.ModuleList(convolutions)
        _nothing(self.convolutions[-1])

    def forward(self, values: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.told(told)[:, :, None, None, None].chunk(2, dim=1)
        found = self.convolutions[0](functional.silu(self.norms[0](values)))
        found = self.norms[1](found) * (1 + scale) + shift
        return values + self.convolutions[1](functional.silu(found))


def noise_shape(volume: Sequence[int]) -> tuple[int, ...]:
    """(8, x, y, z) of the noise for a volume of sides (X, Y, Z)."""
    return (BANDS, *(side // CELL for side in volume))


def to_cells(volume: Tensor) -> Tensor:
    """Haar cells (B, 8, X/2, Y/2, Z/2) of a volume (B, 1, X, Y, Z), orthonormal, means first: sums
    and differences along the three axes (Haar 1910)."""
    for axis in reversed(AXES):
        even, odd = volume.unflatten(axis, (-1, CELL)).unbind(axis + 1)
        volume = torch.cat([even + odd, even - odd], dim=1) / math.sqrt(2)
    return volume


def from_cells(cells: Tensor) -> Tensor:
    """The inverse of `to_cells`."""
    for axis in AXES:
        sums, differences = cells.chunk(2, dim=1)
        pair = [(sums + differences) / math.sqrt(2), (sums - differences) / math.sqrt(2)]
        cells = torch.stack(pair, dim=axis + 1).flatten(axis, axis + 1)
    return cells


def _clock(width: int) -> nn.Sequential:
    """From the waves of a time to the numbers by which blocks are told it."""
    return nn.Sequential(
        nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
    )


def _waves(time: Tensor) -> Tensor:
    """(B, 64) sines and cosines of times (B,)."""
    frequencies = torch.linspace(0, math.log(_LARGEST), _FREQUENCIES, device=time.device).exp()
    angles = time[:, None] * frequencies * (math.pi / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _as_wide(latent: Tensor, like: Tensor) -> Tensor:
    """The latent with the sides of `like`."""
    if latent.shape[2:] == like.shape[2:]:
        return latent
    return functional.interpolate(latent, size=like.shape[2:], mode="nearest")


def _nothing(layer: nn.Module) -> nn.Module:
    """The layer with weights of 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
