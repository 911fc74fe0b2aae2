"""What is left out for speed changes nothing: the same predictions, the same bits."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ldm.errors import LdmError
from ldm.inference import (
    OneTokenBlock,
    attend_to_one_token,
    quantise_on_device,
    why_not_compiled,
)
from ldm.networks import Denoiser
from ldm.presets import paper, tiny
from ldm.volumes import quantise


def denoiser() -> Denoiser:
    """The tiny preset's with the paper's attention at both lower levels, its weights random."""
    torch.manual_seed(0)
    config = replace(
        tiny().denoiser,
        channels=(16, 32, 32),
        attention_levels=(False, True, True),
        head_channels=(0, 16, 32),
    )
    network = Denoiser(config).eval()
    for parameter in network.parameters():  # MONAI begins the last convolutions with zeros
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def test_cross_attention_to_one_token_is_one_vector() -> None:
    slow = denoiser()
    fast = copy.deepcopy(slow)
    assert attend_to_one_token(fast) == 2 + 1 + 2 * 2  # down, middle, up
    latent, conditions = torch.randn(2, 2, 8, 12, 8), torch.rand(2, 4)
    steps = torch.tensor([3, 700])
    with torch.inference_mode():
        wanted, found = slow(latent, steps, conditions), fast(latent, steps, conditions)
        other = fast(latent, steps, 1 - conditions)
    scale = float(wanted.std())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * scale)
    assert float((other - wanted).std()) > 0.01 * scale  # the conditions are heard


def test_the_weights_keep_their_names() -> None:
    network = denoiser()
    before = network.state_dict()
    attend_to_one_token(network)
    after = network.state_dict()
    assert list(before) == list(after)
    assert all(
        before[name] is not None and torch.equal(before[name], after[name]) for name in after
    )


def test_every_block_of_the_papers_network_is_made_so() -> None:
    with torch.device("meta"):
        network = Denoiser(paper().denoiser)
    assert attend_to_one_token(network) == 2 * 2 + 1 + 2 * 3  # down, middle, up


def test_another_number_of_tokens_is_refused() -> None:
    network = denoiser()
    attend_to_one_token(network)
    block = next(m for m in network.modules() if isinstance(m, OneTokenBlock))
    with pytest.raises(LdmError, match="cross-attention to 2 tokens, expected one"):
        block(torch.zeros(1, 5, 32), torch.zeros(1, 2, 4))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        (3, 2, 4),
        elements=st.floats(-2, 2, width=32)
        | st.sampled_from([np.nan, np.inf, -np.inf, 0.5 / 4095, 1.5 / 4095, 2.5 / 4095, 1.0]),
    )
)
def test_quantising_on_the_device_gives_the_bits_of_quantising_on_the_host(
    volume: np.ndarray,
) -> None:
    found = quantise_on_device(torch.from_numpy(volume)).numpy().view(np.uint16)
    np.testing.assert_array_equal(found, quantise(volume))


def test_the_u_net_compiles_as_one_graph() -> None:
    """What `torch.compile` is given has no place where it must go back to Python."""
    network = denoiser()
    attend_to_one_token(network)
    whole = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
    latent, conditions = torch.randn(1, 2, 8, 12, 8), torch.rand(1, 4)
    steps = torch.tensor([3])
    with torch.inference_mode():
        torch.testing.assert_close(
            whole(latent, steps, conditions), network(latent, steps, conditions)
        )


def test_where_nothing_compiles_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object) -> object:
        raise RuntimeError("Failed to find C compiler\nPlease specify via CC environment variable")

    monkeypatch.setattr(torch, "compile", broken)
    assert why_not_compiled("cpu") == "RuntimeError: Failed to find C compiler"
