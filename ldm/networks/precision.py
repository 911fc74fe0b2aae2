"""The number format that networks compute in on a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ldm.errors import LdmError

PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}


def resolve(precision: str, device: str) -> str:
    """ "bf16" or "fp32"; "auto" takes bf16 where the device computes in it natively.

    Raises:
        LdmError: an unknown precision.
    """
    if precision in PRECISIONS:
        return precision
    if precision != "auto":
        raise LdmError(f"precision {precision!r}: expected auto, {', '.join(PRECISIONS)}")
    if device.startswith("cuda"):
        # Emulated on T4 and V100, where it is slower than float32.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if native else "fp32"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def cast(network: nn.Module, dtype: torch.dtype, *, keep: nn.Module | None = None) -> None:
    """Convert the weights of convolutions and linear layers in place, once instead of a call.

    Normalisations stay in float32; `keep` is left alone. Run the network under `autocast`.
    """
    kept = set(keep.modules()) if keep else set()
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)) and module not in kept:
            module.to(dtype)


@contextmanager
def autocast(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Autocast to `dtype` on `device`; for float32 none, and on CUDA no TF32 either, in which
    PyTorch's convolutions compute otherwise: of 24 bits of a product's factors it keeps 11."""
    kind, whole = torch.device(device).type, dtype == torch.float32
    exact = _exact() if whole and kind == "cuda" else nullcontext()
    with exact, torch.autocast(kind, dtype=dtype, enabled=not whole):
        yield


@contextmanager
def _exact() -> Iterator[None]:
    """Without TF32, in convolutions and in products of matrices."""
    places: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed
