"""The networks of the baselines: shapes, ranges, what their gradients reach, wrong sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from ldm.errors import LdmError
from ldm.gan.config import CriticConfig, GeneratorConfig, coarsest
from ldm.gan.networks import Critic, Generator, VaeGan
from ldm.gan.presets import PRESETS, gan_preset
from ldm.training.presets import preset

PRESET = gan_preset("tiny")
SHAPE = PRESET.grid.shape


def test_a_generator_makes_volumes_of_the_grid_in_the_unit_range() -> None:
    torch.manual_seed(0)
    volumes = Generator(PRESET.generator)(10 * torch.randn(3, 8))
    assert volumes.shape == (3, 1, *SHAPE)
    assert 0 <= volumes.min() < volumes.max() <= 1


def test_a_volume_does_not_depend_on_the_others_of_its_batch() -> None:
    torch.manual_seed(0)
    generator, critic = Generator(PRESET.generator), Critic(PRESET.critic).eval()
    latent = torch.randn(3, 8)
    together = generator(latent)
    torch.testing.assert_close(generator(latent[1:2]), together[1:2], rtol=1e-5, atol=1e-6)
    scores, features = critic(together)
    alone, own = critic(together[1:2])
    torch.testing.assert_close(alone, scores[1:2], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(own, features[1:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("level", "shape"), [(0, (8, 8, 12, 8)), (1, (16, 4, 6, 4))])
def test_a_critic_scores_volumes_and_shows_the_features_of_its_level(
    level: int, shape: tuple[int, ...]
) -> None:
    critic = Critic(replace(PRESET.critic, feature_level=level))
    scores, features = critic(torch.rand(2, 1, *SHAPE))
    assert scores.shape == (2,)
    assert features.shape == (2, *shape)


def test_every_layer_of_a_critic_stretches_by_at_most_one() -> None:
    torch.manual_seed(0)
    critic = Critic(PRESET.critic)
    for parameter in critic.parameters():
        parameter.data *= 50
    for _ in range(100):  # the power iteration goes on a step a pass
        critic(torch.zeros(1, 1, *SHAPE))
    for module in critic.modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)):
            stretch = torch.linalg.matrix_norm(module.weight.flatten(1), ord=2)
            assert stretch.item() == pytest.approx(1, rel=0.02)


def test_the_critics_judgement_teaches_the_decoder_and_not_the_encoder() -> None:
    torch.manual_seed(0)
    model, critic = VaeGan(PRESET.generator, PRESET.critic), Critic(PRESET.critic)
    again, judged, mean, log_variance = model(
        torch.rand(2, 1, *SHAPE), torch.randn(2, 8), torch.randn(2, 8)
    )
    assert again.shape == (2, 1, *SHAPE)
    assert judged.shape == (4, 1, *SHAPE)
    assert mean.shape == log_variance.shape == (2, 8)
    torch.testing.assert_close(judged[:2], again, rtol=1e-5, atol=1e-6)
    critic(judged)[0].sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.generator.parameters())
    assert not any(p.grad is not None and p.grad.any() for p in model.encoder.parameters())


def test_reconstructions_teach_the_encoder() -> None:
    torch.manual_seed(0)
    model = VaeGan(PRESET.generator, PRESET.critic)
    volume = torch.rand(2, 1, *SHAPE)
    again, *_ = model(volume, torch.randn(2, 8), torch.randn(2, 8))
    (again - volume).pow(2).mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.encoder.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_volumes_of_the_grid_of_its_namesake(name: str) -> None:
    chosen = gan_preset(name)
    assert chosen.grid == preset(name).grid
    assert chosen.generator.shape == chosen.grid.shape
    for widths, patch in (
        (chosen.generator.channels, chosen.generator.patch),
        (chosen.critic.channels, chosen.critic.patch),
    ):
        assert min(coarsest(chosen.grid.shape, patch, widths)) >= 3
    assert set(chosen.training) == {"lsgan", "vae-gan"}


def test_an_unknown_preset_is_told_with_those_there_are() -> None:
    with pytest.raises(LdmError, match="preset 'big': expected one of demo, paper, tiny"):
        gan_preset("big")


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (PRESET.generator, {"shape": (16, 24, 18)}, "must divide by 4"),
        (PRESET.generator, {"channels": (16, 10)}, "norm_num_groups 4"),
        (PRESET.generator, {"latent": 0}, "latent 0: expected a whole number 1 to 16384"),
        (PRESET.critic, {"shape": (16, 25, 16)}, "must divide by 4"),
        (PRESET.critic, {"feature_level": 2}, "feature_level 2: expected 0 to 1"),
        (PRESET.critic, {"channels": ()}, "expected a width a level"),
    ],
    ids=["generator-shape", "groups", "latent", "critic-shape", "level", "widths"],
)
def test_networks_that_cannot_be_are_told(
    config: GeneratorConfig | CriticConfig, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        replace(config, **changes)


def test_a_generators_config_survives_json() -> None:
    assert GeneratorConfig.from_json(PRESET.generator.to_json()) == PRESET.generator
