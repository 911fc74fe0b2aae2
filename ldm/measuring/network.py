"""The segmenter's network: a small U-Net on voxels folded by a space-to-depth step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ldm.anatomy import labels
from ldm.errors import LdmError
from ldm.measuring.box import DARK
from ldm.networks import channels_last, depth_to_space, space_to_depth
from ldm.untrusted import MOST_CHANNELS, MOST_PATCH, check_whole

_HEAD = 64  # channels between the last two layers


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """The segmenter's shape.

    Attributes:
        channels: width of each level; every level but the first halves the sides.
        patch: side of the space-to-depth step before the network.
        refine: channels of the last convolutions over single voxels; 0 leaves them out.
        refinements: how often they refine, each time with weights of their own: 1 or 2.
    """

    channels: tuple[int, ...]
    patch: int
    refine: int = 0
    refinements: int = 1

    def __post_init__(self) -> None:
        check_whole("segmenter", 1, MOST_PATCH, patch=self.patch)
        check_whole("segmenter", 1, MOST_CHANNELS, channels=self.channels)
        check_whole("segmenter", 0, MOST_CHANNELS, refine=self.refine)
        check_whole("segmenter", 1, 2, refinements=self.refinements)
        if len(self.channels) < 3:
            raise LdmError(f"segmenter channels {self.channels}: expected three levels or more")

    @property
    def factor(self) -> int:
        """What every side of the volume must divide by."""
        return self.patch * 2 ** (len(self.channels) - 1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> SegmenterConfig:
        return cls(**{**document, "channels": tuple(document["channels"])})


class Seen(NamedTuple):
    """What the network makes of volumes: logits (B, 6, X, Y, Z), and the encoder's levels, each
    (B, C, x, y, z), the finest first."""

    logits: Tensor
    levels: list[Tensor]


class SegmenterNetwork(nn.Module):
    """Volumes (B, 1, X, Y, Z) to the logits of the structures, (B, 6, X, Y, Z).

    MONAI's nnU-Net (Isensee et al. 2021): two convolutions a level, instance normalisation. It
    works on 2 x 2 x 2 voxels at once, which a CPU does four times as fast. Last convolutions over
    single voxels set what was found beside the image: they learn one edge for all places in a
    block, and sharpen them.
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        from monai.networks.nets import DynUNet

        self.config = config
        levels = len(config.channels)
        net = DynUNet(
            spatial_dims=3,
            in_channels=config.patch**3,
            out_channels=1,
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(config.channels),
        )
        # Its blocks, each once: the network itself lists every one of them twice.
        self.down = nn.ModuleList([net.input_block, *net.downsamples, net.bottleneck])
        self.up = net.upsamples
        cells = config.patch**3
        self.last = nn.Sequential(
            nn.Conv3d(config.channels[0] + cells, _HEAD, 1),
            nn.LeakyReLU(0.01),
            nn.Conv3d(_HEAD, labels.COUNT * cells, 1),
        )
        self.refine = refinement(config.refine, 1) if config.refine else None
        twice = config.refine and config.refinements == 2
        self.again = refinement(config.refine, 3) if twice else None
        channels_last(self)

    def forward(self, volume: Tensor) -> Tensor:
        return self.see(volume).logits

    def see(self, volume: Tensor) -> Seen:
        """The logits, and what every level of the encoder made of the volume."""
        cells = space_to_depth(volume, self.config.patch)
        levels = self._encode(cells)
        hidden = levels[-1]
        for block, skipped in zip(self.up, reversed(levels[:-1]), strict=True):
            hidden = block(hidden, skipped)
        logits = self.last(torch.cat([hidden, cells.to(hidden.dtype)], dim=1))
        logits = depth_to_space(logits, self.config.patch)
        for step in filter(None, (self.refine, self.again)):
            beside = torch.cat([logits, volume.to(logits.dtype)], dim=1)
            logits = logits + step(beside.contiguous(memory_format=torch.channels_last_3d))
        return Seen(logits, levels)

    def features(self, volume: Tensor) -> Tensor:
        """Every level of the encoder averaged over the brain, (B, sum of channels) float32."""
        return pooled(self._encode(space_to_depth(volume, self.config.patch)), volume)

    def _encode(self, hidden: Tensor) -> list[Tensor]:
        levels = []
        for block in self.down:
            hidden = block(hidden)
            levels.append(hidden)
        return levels


def refinement(channels: int, side: int) -> nn.Sequential:
    """From logits and the image (B, 7, X, Y, Z) to what is added to the logits."""
    return nn.Sequential(
        nn.Conv3d(labels.COUNT + 1, channels, 3, padding=1),
        nn.LeakyReLU(0.01),
        nn.Conv3d(channels, labels.COUNT, side, padding=side // 2),
    )


def pooled(levels: list[Tensor], volume: Tensor) -> Tensor:
    """Features (B, F) float32 of volumes (B, 1, X, Y, Z), of what the encoder made of them.

    Means over the brain: over the whole box, normalisation has made them all alike.
    """
    brain = (volume > DARK).float()
    found = []
    for level in levels:
        x, y, z = level.shape[2:]
        weight = nn.functional.adaptive_avg_pool3d(brain, (x, y, z))
        share = weight / weight.sum(dim=(2, 3, 4), keepdim=True).clamp_min(1e-6)
        found.append((level.float() * share).sum(dim=(2, 3, 4)))
    return torch.cat(found, dim=1)
