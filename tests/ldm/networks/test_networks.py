"""The networks: the paper's sizes, the patch step, the hybrid conditioning, their configs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ldm.errors import LdmError
from ldm.networks import (
    Autoencoder,
    AutoencoderConfig,
    Denoiser,
    DenoiserConfig,
    channels_last,
    depth_to_space,
    space_to_depth,
)
from ldm.training.presets import paper
from tests.ldm.tiny_model import BRANCHED, LATENT_SHAPE, PRESET, networks


def inputs(batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """A noisy latent, its time steps and scaled covariates."""
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn((batch, *LATENT_SHAPE), generator=generator)
    return latent, torch.tensor([10, 700])[:batch], torch.rand((batch, 4), generator=generator)


def test_the_paper_s_networks_have_exactly_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        found = Autoencoder(paper().autoencoder), Denoiser(paper().denoiser)
    counts = [sum(p.numel() for p in network.parameters()) for network in found]
    assert counts == [13_766_248, 553_168_899]


@pytest.mark.parametrize("side", [1, 2, 4])
def test_depth_to_space_inverts_space_to_depth(side: int) -> None:
    volume = torch.arange(2 * 3 * 4 * 8 * 12, dtype=torch.float32).view(2, 3, 4, 8, 12)
    cells = space_to_depth(volume, side)
    assert cells.shape == (2, 3 * side**3, 4 // side, 8 // side, 12 // side)
    torch.testing.assert_close(depth_to_space(cells, side), volume, rtol=0, atol=0)


def test_a_cell_holds_the_voxels_of_its_own_cube() -> None:
    volume = torch.randn(1, 1, 4, 6, 8)
    cell = space_to_depth(volume, 2)[0, :, 1, 2, 3]
    cube = volume[0, 0, 2:4, 4:6, 6:8].flatten()
    torch.testing.assert_close(cell.sort().values, cube.sort().values, rtol=0, atol=0)


@pytest.mark.parametrize("patch", [1, 2])
def test_the_autoencoder_goes_to_the_latent_and_back(patch: int) -> None:
    config = replace(PRESET.autoencoder, patch=patch)
    assert config.factor == 2 * patch
    network = Autoencoder(config)
    volume = torch.rand(2, 1, 8, 16, 8)
    mean, std = network.encode(volume)
    assert (
        mean.shape
        == std.shape
        == (2, 2, 8 // config.factor, 16 // config.factor, 8 // config.factor)
    )
    assert (std > 0).all()
    assert network.decode(mean).shape == volume.shape


@torch.no_grad()
def test_the_autoencoder_decodes_the_mean_plus_the_noise_it_is_given() -> None:
    network, _ = networks()
    volume, noise = torch.rand(1, 1, *PRESET.grid.shape), torch.randn(1, *LATENT_SHAPE)
    reconstruction, mean, std = network(volume, noise)
    torch.testing.assert_close(reconstruction, network.decode(mean + std * noise))
    assert (reconstruction - network.decode(mean)).abs().max() > 1e-4


@torch.no_grad()
def test_under_bf16_the_last_convolution_still_gives_float32_intensities() -> None:
    network, _ = networks()
    with torch.autocast("cpu", torch.bfloat16):
        volume = network.decode(torch.randn(1, *LATENT_SHAPE))
    assert volume.dtype == torch.float32
    assert not torch.equal(volume, volume.bfloat16().float())


@torch.no_grad()
@pytest.mark.parametrize("patch", [1, 2])
def test_the_denoiser_keeps_the_latent_s_shape(patch: int) -> None:
    network = Denoiser(replace(PRESET.denoiser, patch=patch))
    latent = torch.randn(2, 2, 8, 12, 4)
    assert network(latent, torch.tensor([0, 999]), torch.rand(2, 4)).shape == latent.shape


@torch.no_grad()
@pytest.mark.parametrize("which", range(4))
def test_every_covariate_changes_the_prediction_of_its_own_sample_only(which: int) -> None:
    _, network = networks()
    latent, times, conditions = inputs()
    other = conditions.clone()
    other[0, which] += 0.5
    before, after = network(latent, times, conditions), network(latent, times, other)
    assert (before - after)[0].abs().max() > 1e-3
    torch.testing.assert_close(before[1], after[1])


@torch.no_grad()
def test_covariates_come_in_both_as_channels_and_by_cross_attention() -> None:
    _, network = networks()
    latent, times, conditions = inputs()
    seen: list[tuple[Tensor, Tensor]] = []
    network.net.register_forward_pre_hook(
        lambda net, args, kwargs: seen.append((args[0], kwargs["context"])), with_kwargs=True
    )
    network(latent, times, conditions)
    cells, context = seen[0]
    torch.testing.assert_close(cells[:, :2], latent)
    torch.testing.assert_close(cells[:, 2:].amin((2, 3, 4)), conditions)
    torch.testing.assert_close(cells[:, 2:].amax((2, 3, 4)), conditions)
    torch.testing.assert_close(context, conditions[:, None])


@torch.no_grad()
def test_conditions_are_standardised_by_the_config_s_statistics() -> None:
    _, plain = networks()
    mean, std = (0.5, 0.4, 0.2, 0.6), (0.5, 0.3, 0.1, 0.2)
    config = replace(PRESET.denoiser, condition_mean=mean, condition_std=std)
    standardising = Denoiser(config)
    standardising.load_state_dict(plain.state_dict())  # the statistics are no weights
    latent, times, conditions = inputs()
    torch.testing.assert_close(
        standardising(latent, times, conditions),
        plain(latent, times, (conditions - torch.tensor(mean)) / torch.tensor(std)),
    )


@torch.no_grad()
def test_channels_last_changes_the_layout_and_not_the_result() -> None:
    _, network = networks()
    before = network(*inputs())
    channels_last(network)
    weights = [p for p in network.parameters() if p.ndim == 5 and p.shape[-1] == 3]
    assert all(w.is_contiguous(memory_format=torch.channels_last_3d) for w in weights)
    torch.testing.assert_close(network(*inputs()), before, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_branch_adds_nothing_before_it_is_trained_and_then_in_the_neighbourhood_alone() -> None:
    _, plain = networks()
    network = Denoiser(BRANCHED)
    found = network.load_state_dict(plain.state_dict(), strict=False)
    assert all(name.startswith("branch.") for name in found.missing_keys)
    latent, times, conditions = inputs()
    said = network(latent, times, conditions)
    torch.testing.assert_close(said, plain(latent, times, conditions), rtol=0, atol=0)

    branch = network.branch
    assert branch is not None
    for parameter in branch.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    latent = torch.randn(1, 2, 16, 16, 16)
    zero, time = torch.zeros_like(latent), torch.tensor([300])
    assert (branch(latent, zero, time) - branch(latent, zero, time + 400)).abs().max() > 1e-3
    # Group normalisation hears of the whole latent by its moments, which a swap leaves.
    swapped = latent.clone()
    swapped[..., 0, :, :], swapped[..., 1, :, :] = latent[..., 1, :, :], latent[..., 0, :, :]
    reach = 2 + 2 * BRANCHED.branch_blocks
    change = (branch(latent, zero, time) - branch(swapped, zero, time)).abs().amax((0, 1, 3, 4))
    assert change[:2].min() > 1e-2
    assert change[1 + reach :].max() < 0.05 * change[:2].max()


def test_configs_survive_json() -> None:
    for config in (PRESET.autoencoder, paper().autoencoder):
        assert AutoencoderConfig.from_json(config.to_json()) == config
    standardising = replace(PRESET.denoiser, condition_mean=(0.0,) * 4, condition_std=(1.0,) * 4)
    for found in (standardising, paper().denoiser, BRANCHED):
        assert DenoiserConfig.from_json(found.to_json()) == found
    assert "branch_blocks" not in PRESET.denoiser.to_json()  # as of models before there was one


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": (8, 10)}, r"channels \(8, 10\): each must divide by norm_num_groups 4"),
        ({"channels": ()}, "autoencoder channels"),
    ],
)
def test_an_autoencoder_that_cannot_be_built_is_refused_at_birth(changes: dict, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        replace(PRESET.autoencoder, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head_channels": (0,)}, "2 channels, 2 attention levels and 1 head sizes"),
        ({"channels": (16,)}, "1 channels, 2 attention levels"),
        ({"channels": (16, 20)}, r"channels \(16, 20\): each must divide by norm_num_groups 8"),
        ({"branch_channels": 12}, "branch_channels 12: each must divide by norm_num_groups 8"),
        ({"branch_blocks": 0}, "branch_blocks 0: expected"),
        ({"head_channels": (0, 0)}, r"head sizes \(0, 0\): where there is attention each must"),
        ({"head_channels": (0, 5)}, r"divide its level's channels \(16, 16\)"),
        ({"condition_mean": (0.0,)}, "1 condition statistics for 4 conditions"),
        ({"condition_std": (1.0,) * 5}, "5 condition statistics for 4 conditions"),
    ],
)
def test_a_u_net_that_cannot_be_built_is_refused_at_birth(changes: dict, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        replace(PRESET.denoiser, **changes)
