"""Checkpoints on disk: tensors in safetensors, one JSON file of metadata, written last."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ldm.errors import LdmError

META = "checkpoint.json"
Groups = dict[str, dict[str, Tensor]]


def write(folder: Path, groups: Groups, meta: dict[str, Any]) -> None:
    """Write `groups` of named tensors and `meta` into an empty folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in groups.items():
        plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        save_file(plain, _file(folder, name))
    side = folder / f".{META}"
    side.write_text(json.dumps({**meta, "groups": sorted(groups)}, indent=1))
    os.replace(side, folder / META)


def look(folder: Path) -> dict[str, Any]:
    """The metadata of a complete checkpoint, whose tensors are not read.

    Raises:
        LdmError: no complete checkpoint there.
    """
    from safetensors import safe_open

    with _complete(folder):
        meta: dict[str, Any] = json.loads((folder / META).read_text())
        for name in meta["groups"]:
            with safe_open(_file(folder, name), framework="pt"):  # which checks its length
                pass
    return meta


def read(folder: Path, only: Sequence[str] = ()) -> tuple[Groups, dict[str, Any]]:
    """The inverse of `write`, of all groups or of those named.

    Raises:
        LdmError: no complete checkpoint there.
    """
    from safetensors.torch import load_file

    with _complete(folder):
        meta: dict[str, Any] = json.loads((folder / META).read_text())
        groups = {name: load_file(_file(folder, name)) for name in only or meta["groups"]}
    return groups, meta


def files(meta: dict[str, Any]) -> list[str]:
    """The files of a checkpoint's groups."""
    return [f"{group}.safetensors" for group in meta["groups"]]


def _file(folder: Path, group: str) -> Path:
    return folder / f"{group}.safetensors"


@contextmanager
def _complete(folder: Path) -> Iterator[None]:
    """What is missing or damaged of a checkpoint becomes one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise LdmError(
            f"{folder}: not a complete checkpoint ({type(error).__name__}: {error}); "
            "remove it and run the same command again"
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """An AdamW's state as named tensors: `<parameter>/<entry>`."""
    return {
        f"{name}/{entry}": value
        for name, parameter in model.named_parameters()
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """The inverse of `optimizer_tensors`."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, entry = key.rsplit("/", 1)
        parameter = parameters[name]
        # AdamW keeps its step count on the CPU in float32, whatever the parameter is.
        place = value if entry == "step" else value.to(parameter.device, parameter.dtype)
        optimizer.state[parameter][entry] = place
