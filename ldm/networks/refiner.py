"""The refiner: what a denoiser leaves of a latent becomes one as people have.

A file that needs PyTorch alone: an exported bundle takes it along.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Refiner(nn.Module):
    """Latents (B, C, x, y, z) to latents, by what is added to them: a U-Net of two levels.

    An untrained one changes nothing.

    Args:
        latent_channels: of the latent.
        channels: width at the latent's own sides, and at half of them.
        num_res_blocks: residual blocks at the half sides, and as many after them.
        norm_num_groups: of the group normalisation.

    Attributes:
        mean, std: per channel, kept with the weights; it works on (z - mean) / std.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        latent_channels: int,
        channels: Sequence[int],
        num_res_blocks: int,
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        wide, deep = channels

        def blocks(width: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(Block(width, norm_num_groups) for _ in range(count)))

        self.first = nn.Conv3d(latent_channels, wide, kernel_size=3, padding=1)
        self.before = blocks(wide, 1)
        self.down = nn.Conv3d(wide, deep, kernel_size=2, stride=2)
        self.middle = blocks(deep, num_res_blocks)
        self.up = nn.ConvTranspose3d(deep, wide, kernel_size=2, stride=2)
        self.after = blocks(wide, num_res_blocks)
        self.last = _nothing(nn.Conv3d(wide, latent_channels, kernel_size=3, padding=1))
        self.register_buffer("mean", torch.zeros(1, latent_channels, 1, 1, 1))
        self.register_buffer("std", torch.ones(1, latent_channels, 1, 1, 1))

    def standardise(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Work on (z - mean) / std from now on, per channel."""
        for kept, values in ((self.mean, mean), (self.std, std)):
            kept.copy_(torch.tensor(list(values)).view(1, -1, 1, 1, 1))

    def forward(self, latent: Tensor) -> Tensor:
        found = self.before(self.first((latent - self.mean) / self.std))
        found = self.after(found + self.up(self.middle(self.down(found))))
        added: Tensor = self.last(found)
        return latent + added.to(latent.dtype) * self.std


class Block(nn.Module):
    """Two convolutions, each after group norm and SiLU, and what came in (He et al. 2016)."""

    def __init__(self, width: int, norm_num_groups: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(norm_num_groups, width) for _ in range(2))
        convolutions = (nn.Conv3d(width, width, kernel_size=3, padding=1) for _ in range(2))
        self.convolutions = nn.ModuleList(convolutions)
        _nothing(self.convolutions[-1])

    def forward(self, values: Tensor) -> Tensor:
        found = values
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            found = convolution(functional.silu(norm(found)))
        return values + found


def _nothing(layer: nn.Module) -> nn.Module:
    """The layer with weights of 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
