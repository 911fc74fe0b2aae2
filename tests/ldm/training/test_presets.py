"""The presets agree with themselves and with the paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ldm.errors import LdmError
from ldm.training.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_together(name: str) -> None:
    found = preset(name)
    assert found.name == name
    assert found.autoencoder.latent_channels == found.denoiser.latent_channels
    assert found.denoiser.conditions == 4
    assert found.latent_copies >= 1


def test_the_paper_s_latent_is_20_x_28_x_20() -> None:
    paper = preset("paper")
    assert [side // paper.autoencoder.factor for side in paper.grid.shape] == [20, 28, 20]
    assert paper.grid.spacing == 1.0
    assert (paper.schedule.steps, paper.schedule.prediction) == (1000, "epsilon")
    assert (paper.schedule.beta_start, paper.schedule.beta_end) == (0.0015, 0.0205)
    assert not paper.standardise_conditions


@pytest.mark.parametrize("name", PRESETS)
def test_no_network_trained_in_bf16_has_a_level_two_voxels_deep(name: str) -> None:
    """There torch 2.13 takes weight gradients from memory that nobody wrote, on CPUs."""
    found = preset(name)
    latent = found.grid.shape[0] // found.autoencoder.factor
    levels = range(len(found.denoiser.channels))
    depths = [latent // found.denoiser.patch // 2**level for level in levels]
    assert 2 not in depths or found.train_diffusion.precision == "fp32"


def test_an_unknown_preset_is_told_with_those_there_are() -> None:
    with pytest.raises(LdmError, match="preset 'big': expected one of demo, paper, tiny"):
        preset("big")


def test_a_grid_that_the_networks_cannot_halve_is_refused() -> None:
    tiny = preset("tiny")
    grid = replace(tiny.grid, shape=(16, 20, 16))
    with pytest.raises(LdmError, match=r"preset tiny: grid \(16, 20, 16\) must divide by 8"):
        replace(tiny, grid=grid)
