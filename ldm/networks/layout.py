"""How tensors are laid out, and where a network is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ldm.errors import LdmError

# Of a network's config.
WIDTHS = ("channels", "latent_channels", "norm_num_groups")


def check_groups(where: str, widths: int | Sequence[int], groups: int) -> None:
    """Raise LdmError unless group normalisation divides a width, or each of several, evenly."""
    several = (widths,) if isinstance(widths, int) else widths
    if any(width % groups for width in several):
        raise LdmError(f"{where} {widths}: each must divide by norm_num_groups {groups}")


def channels_last(network: nn.Module) -> None:
    """Lay a network's 3D convolutions out channels-last in place; faster on CPU and GPU."""
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)


def space_to_depth(volume: Tensor, side: int) -> Tensor:
    """(B, C, X, Y, Z) to (B, C side^3, X/side, Y/side, Z/side)."""
    if side == 1:
        return volume
    from monai.networks.utils import pixelunshuffle

    return pixelunshuffle(volume, 3, side).contiguous(memory_format=torch.channels_last_3d)


def depth_to_space(cells: Tensor, side: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    if side == 1:
        return cells
    from monai.networks.utils import pixelshuffle

    return pixelshuffle(cells, 3, side)


def tuples(document: dict[str, Any]) -> dict[str, Any]:
    """A config's JSON with its lists as tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}


class Placed:
    """A frozen network that goes to where the volumes are."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(False)

    def on(self, volume: Tensor) -> Any:
        return self.network.to(volume.device)
