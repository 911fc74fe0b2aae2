"""The number format networks compute in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ldm.errors import LdmError
from ldm.networks.precision import autocast, cast, resolve


def test_a_named_precision_is_taken_and_auto_picks_one() -> None:
    assert [resolve(name, "cpu") for name in ("bf16", "fp32")] == ["bf16", "fp32"]
    assert resolve("auto", "cpu") in ("bf16", "fp32")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(LdmError, match="precision 'fp8': expected auto, bf16, fp32"):
        resolve("fp8", "cpu")


def test_cast_converts_convolutions_and_linear_layers_but_neither_norms_nor_what_is_kept() -> None:
    network = nn.Sequential(
        nn.Conv3d(2, 4, 3), nn.GroupNorm(2, 4), nn.Linear(3, 3), nn.Sequential(nn.Conv3d(4, 1, 1))
    )
    cast(network, torch.bfloat16, keep=network[3])
    found = [parameter.dtype for parameter in network.parameters()]
    half, whole = torch.bfloat16, torch.float32
    assert found == [half, half, whole, whole, half, half, whole, whole]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_computes_in_the_dtype_and_leaves_float32_alone(dtype: torch.dtype) -> None:
    with autocast("cpu", dtype):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_float32_on_cuda_is_without_tf32_and_all_else_is_left_as_it_was() -> None:
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    assert before == (True, False), "PyTorch's own: convolutions in TF32"
    with autocast("cuda", torch.float32):
        assert (convolutions.allow_tf32, products.allow_tf32) == (False, False)
    assert (convolutions.allow_tf32, products.allow_tf32) == before
    with autocast("cpu", torch.bfloat16), autocast("cpu", torch.float32):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with autocast("cpu", torch.float32):
        assert (convolutions.allow_tf32, products.allow_tf32) == before
