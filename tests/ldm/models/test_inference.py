"""What is left out for speed changes nothing: the same predictions, the same bits."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ldm.errors import LdmError
from ldm.models.inference import (
    Ahead,
    OneTokenBlock,
    attend_to_one_token,
    quantise_on_device,
    why_not_compiled,
)
from ldm.networks import Denoiser
from ldm.training.presets import paper, tiny
from ldm.volumes.conversion import quantise


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


def test_noise_drawn_ahead_is_the_noise_of_its_step_and_the_next_is_under_way() -> None:
    begun: list[int] = []
    second = threading.Event()

    def draw(number: int) -> torch.Tensor:
        begun.append(number)
        if number == 1:
            second.set()
        return torch.full((2,), float(number))

    ahead = Ahead(draw)
    assert ahead(0).tolist() == [0.0, 0.0]
    assert second.wait(10), "the next step's noise is drawn before anybody asks"
    assert [ahead(number)[0].item() for number in (1, 2, 5, 3)] == [1.0, 2.0, 5.0, 3.0]
    ahead.close()
    assert begun[:3] == [0, 1, 2]


def test_an_error_while_drawing_ahead_is_raised_where_that_noise_is_asked_for() -> None:
    def draw(number: int) -> torch.Tensor:
        if number == 1:
            raise ValueError("no noise")
        return torch.zeros(1)

    ahead = Ahead(draw)
    ahead(0)
    with pytest.raises(ValueError, match="no noise"):
        ahead(1)
    ahead.close()
