"""Others' ResNets: the tensors of their files, and a network that is given them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.untrusted import first_line


def tensors_of(path: Path, *, option: str, instead: str = "") -> dict[str, Tensor]:
    """The tensors in a file of PyTorch weights, by name; no pickled code is run.

    Args:
        option: of the command line that named the file, for errors.
        instead: what else may be given, the words that end the error of an absent file.

    Raises:
        LdmError: no such file, or no weights.
    """
    told = f"; {instead}" if instead else ""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        saved = saved.get("state_dict", saved)
        return {name.removeprefix("module."): tensor for name, tensor in saved.items()}
    except FileNotFoundError:
        raise LdmError(f"{option} {path}: no such file{told}") from None
    except Exception as error:  # torch.load has many
        raise LdmError(f"{option} {path}: not PyTorch weights ({first_line(error)})") from None


def fill(network: nn.Module, tensors: dict[str, Tensor], *, wrong: str) -> None:
    """Load those of the tensors that a network has.

    Args:
        wrong: the error of others, without which tensor is missing.

    Raises:
        LdmError: one is missing, or of another shape.
    """
    wanted = network.state_dict()
    kept = {name: tensors[name] for name in wanted if name in tensors}
    # Files written before PyTorch 0.4 count no batches.
    missing = [n for n in wanted if n not in kept and not n.endswith("num_batches_tracked")]
    try:
        network.load_state_dict({**wanted, **kept})
    except RuntimeError as error:
        missing.append(first_line(error))
    if missing:
        raise LdmError(f"{wrong} ({missing[0]} is missing or differs)")
