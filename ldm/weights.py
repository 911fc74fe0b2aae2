"""Weights as bytes: a safetensors file of a network, and back, strictly."""

from __future__ import annotations

import torch

from ldm.errors import LdmError


def weight_bytes(network: torch.nn.Module, dtype: torch.dtype) -> bytes:
    """A safetensors file of the network's weights."""
    from safetensors.torch import save as serialise

    tensors = {k: v.detach().cpu().to(dtype).contiguous() for k, v in network.state_dict().items()}
    data: bytes = serialise(tensors)
    return data


def load_weights(network: torch.nn.Module, data: bytes, where: str) -> None:
    """Load a safetensors file into `network`, strictly, as float32.

    Raises:
        LdmError: not a safetensors file, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        tensors = {name: tensor.float() for name, tensor in parse(data).items()}
    except SafetensorError as error:
        raise LdmError(f"{where} is not a safetensors file ({error}); copy it again") from None
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise LdmError(f"{where} does not fit the model's config: {reason}") from None
