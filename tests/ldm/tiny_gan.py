"""A tiny GAN's model folder with random weights, for tests of ldm and of printing."""

from __future__ import annotations

from pathlib import Path

import torch

from ldm.covariates import UNCONDITIONAL
from ldm.covariates.distribution import CohortDistribution
from ldm.gan.model import save_gan
from ldm.gan.networks import Generator
from ldm.gan.presets import gan_preset
from ldm.models.description import GAN, ModelDescription

PRESET = gan_preset("tiny")


def new_generator(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return Generator(PRESET.generator)


def gan_description() -> ModelDescription:
    return ModelDescription(
        name="tiny-gan",
        card={"name": "tiny-gan", "description": "random weights", "license": "CC0-1.0"},
        schema=UNCONDITIONAL,
        distribution=CohortDistribution.of_nothing(),
        grid=PRESET.grid,
        kind=GAN,
        generator=PRESET.generator.to_json(),
        bounds={"foreground_fraction": (0.0, 1.0), "mean_intensity": (0.0, 1.0)},
    )


def tiny_gan(folder: Path) -> Path:
    """A model folder: 16 x 24 x 16 voxels, milliseconds a volume."""
    save_gan(folder, gan_description(), new_generator())
    return folder
