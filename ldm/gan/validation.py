"""What a baseline in training is judged by: its critic, its reconstructions, its diversity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ldm import noise
from ldm.gan import losses
from ldm.gan.networks import Generator, VaeGan
from ldm.training.autoencoder import fidelity
from ldm.volumes.conversion import read_volume

# Samples whose likeness to each other is measured, the same ones at every validation.
SAMPLES = 8
FIDELITY = ("l1", "psnr", "ssim")


def generator_of(network: nn.Module) -> Generator:
    """The generator inside the model that a task trains."""
    found = network.generator if isinstance(network, VaeGan) else network
    assert isinstance(found, Generator)
    return found


@torch.inference_mode()
def samples(generator: Generator, count: int, device: torch.device) -> np.ndarray:
    """The volumes (count, X, Y, Z) float32 of the first `count` latents of validation."""
    volumes = []
    for number in range(count):
        drawn = noise.normal((1, generator.config.latent), noise.LATENT, 0, number)
        volumes.append(generator(torch.from_numpy(drawn).to(device))[0, 0].float().cpu().numpy())
    return np.stack(volumes)


def likeness(volumes: np.ndarray) -> float:
    """Mean Pearson correlation of the voxels of all pairs; (N, X, Y, Z), at least two.

    1 where all are the same volume: the sign of a generator that has collapsed. To be read against
    the likeness of real volumes.
    """
    table = volumes.reshape(len(volumes), -1).astype(np.float64)
    correlations = np.atleast_2d(np.corrcoef(table))
    return float(correlations[np.triu_indices(len(volumes), 1)].mean())


@torch.inference_mode()
def validate(
    network: nn.Module, critic: nn.Module, paths: Sequence[Path], device: torch.device
) -> dict[str, float]:
    """Sums over the held-out volumes at `paths`, and their count.

    `critic_loss` is the critic's loss on them and on as many samples; `likeness` of the samples to
    each other. Of a VAE-GAN also `l1`, `psnr` (dB) and `ssim` of reconstructions.
    """
    generator = generator_of(network)
    drawn = samples(generator, SAMPLES, device)
    made = torch.from_numpy(drawn)[:, None].to(device)
    training = critic.training
    critic.eval()  # spectral normalisation must not go on with its power iteration here
    of_made = critic(made)[0]
    # The same figures on every worker, also on one that has no volume: sums are added by place.
    sums = {"critic_loss": 0.0, "likeness": likeness(drawn) * len(paths)}
    sums |= dict.fromkeys(FIDELITY if isinstance(network, VaeGan) else (), 0.0)
    sums["count"] = float(len(paths))
    adversarial = (
        losses.cross_entropy_critic if isinstance(network, VaeGan) else losses.least_squares_critic
    )
    for path in paths:
        volume = torch.from_numpy(read_volume(path))[None, None].to(device)
        sums["critic_loss"] += float(adversarial(critic(volume)[0], of_made))
        if isinstance(network, VaeGan):
            found = network.reconstruct(volume).float().clamp(0, 1)
            for name, value in fidelity(found, volume).items():
                sums[name] += value
    critic.train(training)
    return sums
