"""A bundle's weights, of either naming, into the networks of `ldm.networks`."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.models.bundle.layout import AUTOENCODER, DENOISER
from ldm.models.bundle.source import folder_of
from ldm.networks import Autoencoder, Denoiser
from ldm.untrusted import one_line

# What torch raises on a damaged file; its unpickler of plain tensors checks little of what it pops.
DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError,
    AttributeError, AssertionError, OverflowError, struct.error,
)  # fmt: skip

# New name in MONAI core, and the name in MONAI's earlier package `generative`.
RENAMED = ((".postconv.", ".conv."), (".out_proj.", ".to_out.0."))


def load_bundle(source: str | Path, autoencoder: Autoencoder, denoiser: Denoiser) -> None:
    """Load both networks' weights from the bundle at `source`, as float32.

    Raises:
        LdmError: a file that is no state dict, or one of another network.
    """
    folder = folder_of(source)
    for name, network in ((AUTOENCODER, autoencoder.net), (DENOISER, denoiser.net)):
        load_file(network, folder / name, f"{source}: {name}")


def load_file(network: nn.Module, path: Path, where: str) -> None:
    """Load one state dict, strictly; its names are MONAI core's or those of `generative`.

    The file is mapped, not read, and never unpickled beyond tensors (`weights_only`).

    Raises:
        LdmError: not a state dict, or not of this network; `where` names it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except DAMAGED as error:
        reason = one_line(next(iter(str(error).strip().splitlines()), type(error).__name__)[:200])
        raise LdmError(f"{where} cannot be read as weights ({reason}); copy it again") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise LdmError(f"{where} is not a state dict: expected tensors by name, and nothing else")
    expected = network.state_dict().keys()
    names = {old_name(name, state): name for name in expected}
    try:
        network.load_state_dict(
            {names.get(str(k), str(k)): v for k, v in state.items()}, strict=True
        )
    except RuntimeError as error:
        lines = str(error).splitlines()
        reason = lines[1].strip()[:200] if len(lines) > 1 else lines[0]
        raise LdmError(
            f"{where} does not fit the networks of configs/inference.json: {reason}"
        ) from None


def old_name(name: str, known: Iterable[str]) -> str:
    """What a file whose names are `known` calls the weight that MONAI core calls `name`."""
    for new, old in RENAMED:
        if name not in known and name.replace(new, old) in known:
            return name.replace(new, old)
    return name
