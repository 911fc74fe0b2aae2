"""Decoding in slabs: the same volume as whole, whatever the slabs, and with less memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import AutoencoderKL
from torch import nn

from ldm.errors import LdmError
from ldm.networks import Autoencoder, channels_last
from ldm.networks.precision import autocast, cast
from ldm.networks.slabs import decoded
from tests.ldm.tiny_model import PRESET


def autoencoder(seed: int, **changes: object) -> Autoencoder:
    torch.manual_seed(seed)
    network = Autoencoder(replace(PRESET.autoencoder, **changes))  # type: ignore[arg-type]
    for parameter in network.parameters():  # normalisations that do something
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5)
    return network.eval().requires_grad_(False)


@given(
    st.integers(1, 40),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.sampled_from([(8,), (8, 16), (16, 8, 8)]),
    st.integers(1, 2),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_any_slabs_give_the_volume_that_is_decoded_whole(
    rows: int, sides: tuple[int, int, int], channels: tuple[int, ...], patch: int, mirrored: bool
) -> None:
    network = autoencoder(
        3, channels=channels, patch=patch, mirrored=mirrored, num_res_blocks=2, norm_num_groups=4
    )
    latent = torch.randn(2, network.config.latent_channels, *sides)
    kept = latent.clone()
    whole, pieces = network.decode(latent), network.decode(latent, rows=rows)
    assert pieces.shape == whole.shape
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))
    torch.testing.assert_close(latent, kept, rtol=0, atol=0)


def test_in_bf16_it_is_as_near_to_float32_as_the_whole_is() -> None:
    network = autoencoder(4, channels=(16, 32))
    channels_last(network)
    latent = torch.randn(1, network.config.latent_channels, 8, 12, 8)
    exact = network.decode(latent)
    cast(network, torch.bfloat16, keep=network.last_convolution)
    with autocast("cpu", torch.bfloat16):
        found = [network.decode(latent, rows=rows) for rows in (None, 5)]
    whole, pieces = (float((volume - exact).square().mean().sqrt()) for volume in found)
    assert pieces < 1.1 * whole


def test_a_decoder_that_looks_everywhere_at_once_is_refused() -> None:
    network = AutoencoderKL(
        spatial_dims=3,
        channels=(8,),
        latent_channels=2,
        num_res_blocks=1,
        norm_num_groups=4,
        attention_levels=[False],
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=True,
    )
    with pytest.raises(LdmError, match="a decoder with a SpatialAttentionBlock cannot be"):
        decoded(network.decoder.blocks, torch.randn(1, 2, 4, 4, 4), 2)  # type: ignore[arg-type]
