"""Networks made ready to sample: the same functions, without the work that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from monai.networks.nets.diffusion_model_unet import DiffusionUNetTransformerBlock
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.volumes.conversion import LEVELS

NOT_FINITE_INT16 = -1  # the bits of `ldm.volumes.conversion.NOT_FINITE`


class OneTokenBlock(DiffusionUNetTransformerBlock):
    """A transformer block whose context is a single token.

    The softmax over one key is 1 (Vaswani et al. 2017 eq. 1), so neither queries nor keys matter:
    of cross-attention one vector a volume is left, out_proj(to_v(token)), in place of two large
    products and a normalisation at every voxel.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens (B, N, C) to the same; `context` (B, 1, K), else LdmError."""
        if context is None or context.shape[1] != 1:
            found = "none" if context is None else context.shape[1]
            raise LdmError(f"cross-attention to {found} tokens, expected one")
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2.out_proj(self.attn2.to_v(context)) + x
        x = self.ff(self.norm3(x)) + x
        return x


def attend_to_one_token(network: nn.Module) -> int:
    """Make every transformer block of a U-Net a `OneTokenBlock`; how many there are.

    The weights stay, and their names.
    """
    blocks = [m for m in network.modules() if isinstance(m, DiffusionUNetTransformerBlock)]
    for block in blocks:
        block.__class__ = OneTokenBlock
    return len(blocks)


def why_not_compiled(device: str) -> str | None:
    """In one line, why `torch.compile` does not work here; None where it does.

    It needs a C++ compiler, and Triton on a GPU. Tried on a sum of eight numbers.
    """
    try:
        torch.compile(torch.cumsum)(torch.ones(8, device=device), 0)
    except Exception as error:  # compilers, drivers and Triton each fail in their own way
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:200]
    return None


class Ahead:
    """A function of a step's number, called for the next one on a thread as soon as this one is
    asked for: noise of the next step is drawn and sent while the device computes this one.

    Args:
        draw: noise of step 0, 1, ...
    """

    def __init__(self, draw: Callable[[int], Tensor]) -> None:
        self._draw = draw
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="noise")
        self._coming: dict[int, Future[Tensor]] = {}

    def __call__(self, number: int) -> Tensor:
        now = self._coming.pop(number, None) or self._pool.submit(self._draw, number)
        self._coming = {number + 1: self._pool.submit(self._draw, number + 1)}
        return now.result()

    def close(self) -> None:
        """End the thread; what it draws ahead is dropped."""
        self._pool.shutdown(cancel_futures=True)


def quantise_on_device(volumes: Tensor) -> Tensor:
    """`ldm.volumes.conversion.quantise` where the volumes are: int16 with the bits of its uint16.

    Args:
        volumes: float32, any shape.
    """
    levels = (volumes.nan_to_num().clamp(0, 1) * LEVELS).round()
    return levels.to(torch.int16).masked_fill(~volumes.isfinite(), NOT_FINITE_INT16)


@torch.inference_mode()
def on_host(volumes: Iterable[Tensor], count: int, shape: tuple[int, ...]) -> np.ndarray:
    """12-bit volumes (count, *shape) uint16 in the host's memory, of volumes made one by one.

    A GPU computes the next while one is copied; the host waits once, for the last.

    Args:
        volumes: `count` of `shape`, float32, nominally in [0, 1].
    """
    found: Tensor | None = None
    for place, volume in enumerate(volumes):
        if found is None:
            size = (count, *shape)
            found = torch.empty(size, dtype=torch.int16, pin_memory=volume.is_cuda)
        found[place].copy_(quantise_on_device(volume), non_blocking=volume.is_cuda)
    assert found is not None
    if found.is_pinned():
        torch.cuda.synchronize()
    return found.numpy().view(np.uint16)
