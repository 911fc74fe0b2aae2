"""A decoder computed a slab of the volume at a time, equal to the whole but for rounding.

Decoding patches and blending them, as sliding windows do, changes every group normalisation, whose
mean and variance are the whole volume's. Here a layer's input and output are held whole, and only
what lies between them, which takes several times the memory, is made slab by slab along x: the
statistics over all slabs first, then each slab with the neighbours that its convolution reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.networks.blocks import Convolution, UpSample
from monai.networks.nets.autoencoderkl import AEKLResBlock
from torch import Tensor, nn
from torch.nn import functional

from ldm.errors import LdmError

Pointwise = Callable[[Tensor], Tensor]


def decoded(blocks: Sequence[nn.Module], hidden: Tensor, rows: int) -> Tensor:
    """What MONAI's decoder of an autoencoder without attention gives, `rows` of x at a time.

    Args:
        blocks: of the decoder; the last convolution runs in float32.
        hidden: (B, C, x, y, z), the first block's input, which is written over.

    Raises:
        LdmError: a block of a kind that such a decoder does not have.
    """
    *body, norm, last = blocks
    for block in body:
        hidden = _block(block, hidden, rows)
    if not isinstance(norm, nn.GroupNorm):
        raise LdmError(f"a decoder whose last block but one is a {type(norm).__name__}")
    with torch.autocast(hidden.device.type, enabled=False):
        return _convolved(_conv(last), hidden, rows, _normalised(norm, hidden, rows))


def _block(block: nn.Module, hidden: Tensor, rows: int) -> Tensor:
    if isinstance(block, AEKLResBlock):
        return _residual(block, hidden, rows)
    if isinstance(block, UpSample):
        return _upsampled(block, hidden, rows)
    if isinstance(block, Convolution):
        return _convolved(_conv(block), hidden, rows)
    raise LdmError(f"a decoder with a {type(block).__name__} cannot be computed in slabs")


def _residual(block: AEKLResBlock, hidden: Tensor, rows: int) -> Tensor:
    first = _normalised(block.norm1, hidden, rows)
    middle = _convolved(_conv(block.conv1), hidden, rows, lambda x: functional.silu(first(x)))
    second = _normalised(block.norm2, middle, rows)
    plain = isinstance(block.nin_shortcut, nn.Identity)
    out = hidden if plain else None  # each slab is read once more, where it is written
    return _convolved(
        _conv(block.conv2),
        middle,
        rows,
        lambda x: functional.silu(second(x)),
        out=out,
        beside=lambda low, high: block.nin_shortcut(hidden[:, :, low:high]),
    )


def _upsampled(block: UpSample, hidden: Tensor, rows: int) -> Tensor:
    """Nearest-neighbour upsampling by two and the convolution after it, which never sees the whole
    of the upsampled volume."""
    found = dict(block.named_children())
    resize, after = found.get("upsample_non_trainable"), found.get("postconv")
    if not isinstance(resize, nn.Upsample) or resize.mode != "nearest" or after is None:
        raise LdmError("a decoder that upsamples otherwise than by nearest neighbours")
    conv, shape = _conv(after), tuple(2 * side for side in hidden.shape[2:])

    def slab(low: int, high: int) -> Tensor:
        doubled = resize(hidden[:, :, low // 2 : -(-high // 2)])
        return doubled[:, :, low % 2 : low % 2 + high - low]

    return _convolve(conv, slab, shape, rows)


def _convolved(
    conv: nn.Conv3d,
    hidden: Tensor,
    rows: int,
    before: Pointwise = lambda x: x,
    *,
    out: Tensor | None = None,
    beside: Callable[[int, int], Tensor] | None = None,
) -> Tensor:
    """conv(before(hidden)), plus `beside` of the same rows where there is such a thing.

    Args:
        out: written into, if given; it may be what `beside` reads.
    """

    def slab(low: int, high: int) -> Tensor:
        return before(hidden[:, :, low:high])

    shape = tuple(hidden.shape[2:])
    return _convolve(conv, slab, shape, rows, out=out, beside=beside)


def _normalised(norm: nn.GroupNorm, hidden: Tensor, rows: int) -> Pointwise:
    """The group normalisation of `hidden` as a function of any slab of it, float32."""
    batch, channels = hidden.shape[:2]
    sums = torch.zeros(2, batch, norm.num_groups, dtype=torch.float64, device=hidden.device)
    for low, high in _slabs(hidden.shape[2], rows):
        values = hidden[:, :, low:high].float().reshape(batch, norm.num_groups, -1)
        sums[0] += values.sum(-1, dtype=torch.float64)
        sums[1] += values.square().sum(-1, dtype=torch.float64)
    count = hidden[0].numel() // norm.num_groups
    mean, square = sums / count
    scale = (square - mean.square()).clamp(min=0).add(norm.eps).rsqrt()
    each = channels // norm.num_groups
    mean, scale = (
        values.float().repeat_interleave(each, dim=1).view(batch, channels, 1, 1, 1)
        for values in (mean, scale)
    )
    weight, bias = norm.weight.view(-1, 1, 1, 1), norm.bias.view(-1, 1, 1, 1)
    return lambda slab: (slab.float() - mean) * (scale * weight) + bias


def _convolve(
    conv: nn.Conv3d,
    slab: Callable[[int, int], Tensor],
    shape: tuple[int, ...],
    rows: int,
    *,
    out: Tensor | None = None,
    beside: Callable[[int, int], Tensor] | None = None,
) -> Tensor:
    """`conv` over its input, of which `slab` makes the rows that it is asked for."""
    reach, length = conv.kernel_size[0] // 2, shape[0]
    padding = (0, *(side // 2 for side in conv.kernel_size[1:]))
    for low, high in _slabs(length, rows):
        first, last = max(0, low - reach), min(length, high + reach)
        ends = (reach - (low - first), reach - (last - high))
        padded = functional.pad(slab(first, last), (0, 0, 0, 0, *ends))
        padded = padded.contiguous(memory_format=torch.channels_last_3d)
        found = functional.conv3d(padded, conv.weight, conv.bias, padding=padding)
        if beside is not None:
            found = found + beside(low, high)
        if out is None:
            whole = (*found.shape[:2], *shape)
            out = found.new_empty(whole).contiguous(memory_format=torch.channels_last_3d)
        out[:, :, low:high] = found
    assert out is not None
    return out


def _slabs(length: int, rows: int) -> Iterator[tuple[int, int]]:
    for low in range(0, length, rows):
        yield low, min(length, low + rows)


def _conv(block: Any) -> nn.Conv3d:
    conv = block.conv
    if not isinstance(conv, nn.Conv3d) or set(conv.stride) != {1}:
        raise LdmError("a decoder whose convolutions have a stride cannot be computed in slabs")
    return conv
