"""Weights on disk: what does not fit a smaller number is kept whole, what is no number refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ldm.errors import LdmError
from ldm.networks.weights import load_weights, weight_bytes


def network(weight: float) -> nn.Linear:
    made = nn.Linear(2, 3)
    with torch.no_grad():
        made.weight.fill_(0.1)
        made.weight[0, 0] = weight
    return made


@pytest.mark.parametrize("weight", [1.5, 65_504.0, 70_000.0, -3e8])
def test_a_weight_past_float16_s_range_comes_back(weight: float) -> None:
    found = network(0.0)
    data = weight_bytes(network(weight), torch.float16)
    load_weights(found, data, "here")
    assert float(found.weight[0, 0]) == pytest.approx(weight, rel=1e-3)
    assert len(data) < len(weight_bytes(network(weight), torch.float32)) or abs(weight) > 65_504


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_not_saved(weight: float) -> None:
    with pytest.raises(LdmError, match=r"weight weight is not finite: .*--take"):
        weight_bytes(network(weight), torch.float16)
