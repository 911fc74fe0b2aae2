"""Training the baselines: samples, the generator's loss and the critic's, by turns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ldm import noise
from ldm.gan import losses
from ldm.gan.config import VAE_GAN, CriticConfig, GeneratorConfig
from ldm.gan.networks import Critic, Generator, VaeGan
from ldm.training.autoencoder import augment
from ldm.training.config import TrainingConfig
from ldm.training.loop import AdversarialTask
from ldm.volumes.conversion import read_volume


class _GanTask:
    """Prepared volumes and latent noise, the same for both kinds.

    Args:
        paths: the prepared volumes of the training split.
        critic: the network that `TrainingState` trains by turns with the model.
        latent: length of the latent vector.
    """

    draws = 1  # latent vectors a sample

    def __init__(
        self, paths: Sequence[Path], config: TrainingConfig, critic: Critic, latent: int
    ) -> None:
        self.paths = list(paths)
        self.count = len(self.paths)
        self.config = config
        self.critic: nn.Module = critic
        self.latent = latent

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`volume` (B, 1, X, Y, Z), flipped and shifted at random, and `noise` (B, draws, L)."""
        keys = [(self.config.seed, step, p) for p in positions]
        volumes = [
            augment(read_volume(self.paths[i]), noise.generator(noise.AUGMENT, *key))
            for i, key in zip(indices, keys, strict=True)
        ]
        shape = (self.draws, self.latent)
        drawn = [noise.normal(shape, noise.TRAINING, *key) for key in keys]
        return {
            "volume": torch.from_numpy(np.stack(volumes)[:, None]),
            "noise": torch.from_numpy(np.stack(drawn)),
        }

    def plays(self, step: int) -> bool:
        """The critic plays in every step."""
        return True


class LsganTask(_GanTask):
    """Least squares GAN (Mao et al. 2017): the model is a `Generator`."""

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's: the critic should take what it makes for real."""
        made = model(samples["noise"][:, 0])
        samples["made"] = made.detach()
        loss = losses.least_squares_generator(self.critic(made)[0])
        return loss, {}

    def critic_loss(
        self, critic: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's, and its mean score of real and of made volumes."""
        volume = samples["volume"]
        scores, _ = critic(torch.cat([volume, samples["made"]]))
        real, made = scores[: len(volume)], scores[len(volume) :]
        return losses.least_squares_critic(real, made), {"real": real.mean(), "made": made.mean()}


class VaeGanTask(_GanTask):
    """Autoencoding beyond pixels (Larsen et al. 2016): the model is a `VaeGan`.

    L = kl_weight L_prior + L_like + adversarial_weight L_GAN (eq. 8). The paper weighs L_like
    with gamma for the decoder alone; dividing the decoder's loss by gamma makes that the weight of
    L_GAN, and Adam does not see the common factor. The encoder gets no gradient of L_GAN.
    """

    draws = 2

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The encoder's and the decoder's."""
        volume, (drawn, prior) = samples["volume"], samples["noise"].unbind(1)
        again, judged, mean, log_variance = model(volume, drawn, prior)
        samples["reconstructed"], samples["made"] = judged.detach().chunk(2)
        with torch.no_grad():
            _, wanted = self.critic(volume)
        scores, features = self.critic(torch.cat([again, judged]))
        likelihood = losses.feature_likelihood(features[: len(volume)], wanted)
        divergence = losses.prior_divergence(mean, log_variance)
        adversarial = losses.cross_entropy_generator(scores[len(volume) :])
        loss = likelihood + self.config.kl_weight * divergence
        loss = loss + self.config.adversarial_weight * adversarial
        return loss, {
            "likelihood": likelihood,
            "kl": divergence,
            "adversarial": adversarial,
            "l1": (again - volume).abs().mean(),
        }

    def critic_loss(
        self, critic: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's, and its mean logit of real volumes and of the others."""
        volume = samples["volume"]
        shown = torch.cat([volume, samples["reconstructed"], samples["made"]])
        scores, _ = critic(shown)
        real, made = scores[: len(volume)], scores[len(volume) :]
        return losses.cross_entropy_critic(real, made), {"real": real.mean(), "made": made.mean()}


def network_of(kind: str, generator: GeneratorConfig, critic: CriticConfig) -> nn.Module:
    """The model that a GAN of this kind trains: a `Generator` or a `VaeGan`."""
    return VaeGan(generator, critic) if kind == VAE_GAN else Generator(generator)


def task_of(
    kind: str, paths: Sequence[Path], config: TrainingConfig, critic: Critic, latent: int
) -> AdversarialTask:
    """The task that trains it."""
    return (VaeGanTask if kind == VAE_GAN else LsganTask)(paths, config, critic, latent)
