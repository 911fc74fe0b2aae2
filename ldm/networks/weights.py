"""Weights as bytes: a safetensors file of a network, and back, strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from ldm.errors import LdmError

Network = TypeVar("Network", bound=nn.Module)
SMALL = 2**26  # weights, 0.27 GB: what is wrong with such a network, its own loading tells


def weight_bytes(network: torch.nn.Module, dtype: torch.dtype) -> bytes:
    """A safetensors file of the network's weights; those beyond the range of `dtype` in float32.

    Raises:
        LdmError: a weight that is not finite.
    """
    from safetensors.torch import save as serialise

    tensors = {k: _kept(k, v.detach().cpu(), dtype) for k, v in network.state_dict().items()}
    data: bytes = serialise(tensors)
    return data


def _kept(name: str, weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if not bool(weight.isfinite().all()):
        raise LdmError(
            f"weight {name} is not finite: the network cannot be saved; take an earlier "
            "checkpoint (--take), or train with a lower --learning-rate"
        )
    small = weight.to(dtype)
    fits = bool(small.isfinite().all())
    return (small if fits else weight.to(torch.float32)).contiguous()


def build(make: Callable[[], Network], stored_bytes: int, where: str) -> Network:
    """The network that `make` makes, unless it is large and its weights cannot be in the file.

    Args:
        stored_bytes: of its file of weights; a weight takes at least one.

    Raises:
        LdmError: the config asks for more weights than that.
    """
    with torch.device("meta"):  # shapes alone, no memory
        wanted = sum(parameter.numel() for parameter in make().parameters())
    if wanted > max(stored_bytes, SMALL):
        raise LdmError(
            f"{where} does not fit the model's config, which asks for {wanted:,} weights: "
            f"{stored_bytes:,} bytes are there"
        )
    return make()


def load_weights(network: torch.nn.Module, data: bytes, where: str) -> None:
    """Load a safetensors file into `network`, strictly, as float32.

    Raises:
        LdmError: not a safetensors file, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        tensors = parse(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        # KeyError and the others: a type of number, or a shape, that torch does not have.
        reason = ascii(str(error))[1:200]
        raise LdmError(f"{where} is not a safetensors file ({reason}); copy it again") from None
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    try:
        # One that is not of the network is not unfolded: load_state_dict names it.
        known = {k: v.float() if v.shape == wanted.get(k) else v for k, v in tensors.items()}
        network.load_state_dict(known, strict=True)
    except RuntimeError as error:
        reason = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise LdmError(f"{where} does not fit the model's config: {reason}") from None
