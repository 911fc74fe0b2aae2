"""Activation checkpointing: a network's blocks are computed again on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ldm.networks import Autoencoder, Denoiser
from ldm.networks.refiner import Block, Refiner


def recompute(network: nn.Module) -> None:
    """Make every block of `network` keep its input alone (Chen et al. 2016), in place.

    Of other networks than `Autoencoder`, `Denoiser` and `Refiner` nothing is changed. A copy made
    of the network afterwards would compute with this one's weights: copy it first.
    """
    for block in blocks(network):
        block.forward = _again(block.forward)


def blocks(network: nn.Module) -> list[nn.Module]:
    """MONAI's blocks: convolutions, residual blocks and resamplings of the autoencoder, levels of
    the U-Net and its branch's residual blocks; the refiner's."""
    net: Any = getattr(network, "net", None)
    if isinstance(network, Autoencoder):
        # The decoder's last convolution is computed outside of autocast and holds little.
        return [*net.encoder.blocks, *net.decoder.blocks[:-1]]
    if isinstance(network, Denoiser):
        branch: Any = () if network.branch is None else network.branch.blocks
        return [*net.down_blocks, net.middle_block, *net.up_blocks, *branch]
    if isinstance(network, Refiner):
        return [module for module in network.modules() if isinstance(module, Block)]
    return []


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        # No block draws random numbers: nothing to keep of the generators.
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return run
