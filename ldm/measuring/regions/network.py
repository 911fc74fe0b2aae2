"""The network that tells the regions within what the segmenter has told apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldm.anatomy import labels, regions
from ldm.errors import LdmError
from ldm.measuring.box import DARK
from ldm.measuring.network import Seen, SegmenterNetwork
from ldm.networks import channels_last, space_to_depth
from ldm.untrusted import MOST_CHANNELS, check_whole

KINDS = len(regions.KINDS)
_AXES = 3
_NEVER = -1e4  # logit of a kind that the structure of a voxel does not have


@dataclass(frozen=True, kw_only=True)
class RegionConfig:
    """The network's shape.

    Attributes:
        channels: width of each level, from the segmenter's first to its deepest.
        head: channels between the last two layers.
    """

    channels: tuple[int, ...]
    head: int = 96

    def __post_init__(self) -> None:
        check_whole("regions", 1, MOST_CHANNELS, channels=self.channels, head=self.head)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RegionConfig:
        return cls(**{**document, "channels": tuple(document["channels"])})


class RegionNetwork(nn.Module):
    """What the segmenter saw of volumes to logits of the kinds of `ldm.anatomy.regions`, and one
    of lying on the right.

    The way up of a U-Net on the levels of the segmenter's encoder, which stays as it is; at every
    level it is told where in the brain a voxel lies, for most borders between regions are not of
    brightness. Two convolutions a level with instance normalisation, as nnU-Net's (Isensee et al.
    2021). Its last layers see a cell of 2 x 2 x 2 voxels at once, those in the brain alone.

    Args:
        segmenter: the widths of its levels, from the first.
        patch: side of its space-to-depth step, and of a cell.
    """

    def __init__(self, config: RegionConfig, segmenter: tuple[int, ...], patch: int) -> None:
        super().__init__()
        from monai.networks.blocks.dynunet_block import UnetBasicBlock

        if len(config.channels) != len(segmenter):
            raise LdmError(
                f"regions of {len(config.channels)} levels on a segmenter of {len(segmenter)}: "
                "expected as many"
            )
        self.config, self.patch = config, patch
        blocks = []
        below = 0
        for seen, width in reversed(list(zip(segmenter, config.channels, strict=True))):
            norm = ("INSTANCE", {"affine": True})
            blocks.append(UnetBasicBlock(3, below + seen + _AXES, width, 3, 1, norm))
            below = width
        self.up = nn.ModuleList(blocks)
        cells = patch**3
        inputs = below + _AXES + cells * (1 + labels.COUNT)
        self.last = nn.Sequential(
            nn.Linear(inputs, config.head),
            nn.LeakyReLU(0.01),
            nn.Linear(config.head, cells * (KINDS + 1)),
        )
        channels_last(self)

    def forward(self, volume: Tensor, seen: Seen, wanted: Tensor) -> Tensor:
        """Logits of the voxels of some cells, (N, patch^3, 32 + 1); `spread` puts them in place.

        Args:
            volume: (B, 1, X, Y, Z).
            seen: what the segmenter made of it.
            wanted: (B, x, y, z), which cells.
        """
        place = places(volume, self.patch)
        hidden: Tensor | None = None
        for block, level in zip(self.up, reversed(seen.levels), strict=True):
            here = [level, _at(place, level)]
            if hidden is not None:
                here.insert(0, functional.interpolate(hidden, scale_factor=2, mode="trilinear"))
            hidden = block(_joined(here, level.dtype))
        assert hidden is not None
        shares = seen.logits.float().softmax(dim=1)
        fine = space_to_depth(torch.cat([volume.float(), shares], dim=1), self.patch)
        rows = [part.movedim(1, -1)[wanted].to(hidden.dtype) for part in (hidden, place, fine)]
        logits: Tensor = self.last(torch.cat(rows, dim=1))
        return logits.view(len(logits), -1, KINDS + 1)


def in_cells(maps: Tensor, patch: int) -> Tensor:
    """Maps (B, X, Y, Z) by cells, (B, x, y, z, patch^3)."""
    count, *sides = maps.shape
    x, y, z = (side // patch for side in sides)
    cells = maps.view(count, x, patch, y, patch, z, patch).permute(0, 1, 3, 5, 2, 4, 6)
    return cells.reshape(count, x, y, z, -1)


def spread(logits: Tensor, wanted: Tensor, patch: int) -> Tensor:
    """The logits of cells in place, (B, X, Y, Z, 33), 0 elsewhere."""
    count, x, y, z = wanted.shape
    cells = logits.new_zeros(count, x, y, z, patch**3 * (KINDS + 1))
    cells[wanted] = logits.flatten(1)
    voxels = cells.view(count, x, y, z, patch, patch, patch, KINDS + 1)
    voxels = voxels.permute(0, 1, 4, 2, 5, 3, 6, 7)
    return voxels.reshape(count, x * patch, y * patch, z * patch, KINDS + 1)


def places(volume: Tensor, patch: int) -> Tensor:
    """Where each cell lies along the axes, (B, 3, x, y, z): from the middle of the brain, in
    standard deviations of its voxels."""
    brain = (volume > DARK).float()
    found = []
    for axis in range(2, 5):
        side = volume.shape[axis]
        line = torch.arange(side, device=volume.device, dtype=torch.float32)
        others = tuple(a for a in range(1, 5) if a != axis)
        weight = brain.sum(dim=others)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1)
        middle = (weight * line).sum(dim=1, keepdim=True)
        spread = (weight * (line - middle) ** 2).sum(dim=1, keepdim=True).sqrt().clamp(min=1)
        along = ((line - middle) / spread).view(-1, side // patch, patch).mean(dim=2)
        shape = [len(volume), 1, 1, 1, 1]
        shape[axis] = side // patch
        cells = [len(volume), 1, *(side // patch for side in volume.shape[2:])]
        found.append(along.view(shape).expand(cells))
    return torch.cat(found, dim=1)


def within(logits: Tensor, structure: Tensor) -> Tensor:
    """Log-probabilities (..., 32) of the kinds, of those alone that the structure of each voxel
    (...) has; of background, of no use."""
    possible = torch.from_numpy(regions.STRUCTURE_OF) == torch.arange(labels.COUNT)[:, None]
    barred = torch.where(possible, 0.0, _NEVER).to(logits.device)
    return (logits[..., :KINDS].float() + barred[structure.long()]).log_softmax(dim=-1)


def network_for(config: RegionConfig, segmenter: SegmenterNetwork) -> RegionNetwork:
    """An untrained one for what a segmenter sees."""
    return RegionNetwork(config, segmenter.config.channels, segmenter.config.patch)


def _at(place: Tensor, level: Tensor) -> Tensor:
    x, y, z = level.shape[2:]
    return functional.adaptive_avg_pool3d(place, (x, y, z))


def _joined(parts: list[Tensor], dtype: torch.dtype) -> Tensor:
    joined = torch.cat([part.to(dtype) for part in parts], dim=1)
    return joined.contiguous(memory_format=torch.channels_last_3d)
