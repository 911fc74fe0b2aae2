"""Tiny networks, a model folder and training data with random numbers, for tests of ldm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ldm import noise
from ldm.diffusion.schedule import Schedule
from ldm.loading import describe
from ldm.models.description import ModelDescription
from ldm.models.latent_diffusion import save
from ldm.networks import Autoencoder, Denoiser
from ldm.training.adversarial import PatchCritic
from ldm.training.autoencoder import AdversarialAutoencoderTask, AutoencoderTask
from ldm.training.config import TrainingConfig
from ldm.training.diffusion import DiffusionTask
from ldm.training.loop import TrainingState
from ldm.training.presets import tiny
from tests.e2e.running import tiny_model

PRESET = tiny()
BRANCHED = replace(PRESET.denoiser, branch_channels=8, branch_blocks=1)
LATENT_SHAPE = (2, 4, 6, 4)
SUBJECTS = 5


def networks(seed: int = 0) -> tuple[Autoencoder, Denoiser]:
    """The preset "tiny" with no zero weights: a new U-Net ends in zeros and ignores its input."""
    torch.manual_seed(seed)
    autoencoder, denoiser = Autoencoder(PRESET.autoencoder), Denoiser(PRESET.denoiser)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.1)
    return autoencoder, denoiser


def working_model(folder: Path, seed: int = 0) -> ModelDescription:
    """A model folder whose U-Net answers to its latent, step and covariates."""
    description = describe(tiny_model(folder))
    return save(folder, replace(description, name="working"), *networks(seed))


def working_folder(factory: pytest.TempPathFactory) -> Path:
    """A new folder with the working model."""
    folder = factory.mktemp("working") / "tiny"
    working_model(folder)
    return folder


def volume_paths(folder: Path) -> list[Path]:
    """Prepared volumes, uint16 0..4095: smooth blobs of the tiny grid's shape."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in PRESET.grid.shape), indexing="ij")
    paths = []
    for subject in range(SUBJECTS):
        a, b, c = 0.5 + 0.4 * noise.generator(91, subject).random(3)
        head = np.exp(-(((x - 0.1) / a) ** 4) - (y / b) ** 4 - (z / c) ** 4)
        paths.append(folder / f"volume-{subject}.npy")
        np.save(paths[-1], np.rint(head * 4095).astype(np.uint16))
    return paths


def autoencoder_task(folder: Path, config: TrainingConfig) -> AutoencoderTask:
    """Training volumes, written into `folder`."""
    return AutoencoderTask(volume_paths(folder), config, LATENT_SHAPE)


def diffusion_task(folder: Path, config: TrainingConfig, schedule: Schedule) -> DiffusionTask:
    """Encoded subjects, two copies each, written into `folder`; mean 1 and std 2 a channel."""
    paths = []
    for subject in range(SUBJECTS):
        stored = noise.normal((2, 2, *LATENT_SHAPE), 92, subject)
        stored[:, 0] = 1 + 2 * stored[:, 0]
        stored[:, 1] -= 5
        paths.append(folder / f"latent-{subject}.npy")
        np.save(paths[-1], stored.astype(np.float16))
    conditions = noise.generator(93).random((SUBJECTS, 4), dtype=np.float32)
    return DiffusionTask(paths, conditions, (1, 1), (2, 2), schedule, config)


def new_state(network: type[nn.Module], config: TrainingConfig) -> TrainingState:
    """The start of a training run of `Autoencoder` or `Denoiser`."""
    torch.manual_seed(config.seed)
    shape = PRESET.autoencoder if network is Autoencoder else PRESET.denoiser
    return TrainingState(network(shape), config, torch.device("cpu"))


def adversarial_run(folder: Path, config: TrainingConfig) -> tuple[TrainingState, AutoencoderTask]:
    """The start of a training run with a critic, and its task."""
    torch.manual_seed(config.seed)
    critic = PatchCritic(PRESET.critic)
    state = TrainingState(Autoencoder(PRESET.autoencoder), config, torch.device("cpu"), critic)
    paths = volume_paths(folder)
    return state, AdversarialAutoencoderTask(paths, config, LATENT_SHAPE, critic)
