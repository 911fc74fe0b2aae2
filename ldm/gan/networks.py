"""The networks of the baselines: generator, critic, and the encoder of the VAE-GAN.

Pinaya et al. 2022 do not publish the architectures of their baselines. These are the plain 3D
form of what LSGAN (Mao et al. 2017) and VAE-GAN (Larsen et al. 2016) were shown with: a pyramid of
convolutions that doubles the sides, and one that halves them. Two things are of later date and
make them train in 3D: group normalisation, since batches are small, and spectral normalisation of
the critic (Miyato et al. 2018).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ldm.gan.config import CriticConfig, GeneratorConfig, coarsest
from ldm.networks import depth_to_space, space_to_depth

SLOPE = 0.2  # of the leaky rectifier, as in Radford et al. 2016
LARGEST_LOG_VARIANCE = 6.0


class Generator(nn.Module):
    """Latent vectors (B, L), z ~ N(0, 1), to volumes (B, 1, X, Y, Z) in [0, 1]."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        widths, groups = config.channels, config.norm_num_groups
        self.grid = (widths[0], *coarsest(config.shape, config.patch, widths))
        self.dense = nn.Linear(config.latent, math.prod(self.grid))
        self.first = nn.Sequential(nn.GroupNorm(groups, widths[0]), nn.LeakyReLU(SLOPE))
        self.levels = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose3d(before, after, 4, stride=2, padding=1),
                    nn.GroupNorm(groups, after),
                    nn.LeakyReLU(SLOPE),
                )
                for before, after in pairwise(widths)
            )
        )
        self.last_convolution = nn.Conv3d(widths[-1], config.patch**3, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        """The last convolution runs in float32: in bf16 intensities would come in 1/256 steps."""
        hidden = self.dense(latent).view(-1, *self.grid)
        hidden = self.first(hidden.contiguous(memory_format=torch.channels_last_3d))
        hidden = self.levels(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            cells = self.last_convolution(hidden.float())
            return torch.sigmoid(depth_to_space(cells, self.config.patch))


class Critic(nn.Module):
    """Volumes (B, 1, X, Y, Z) to how real they look, (B,), and to what it saw in them.

    No normalisation that mixes the samples of a batch: real and made ones are judged together.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        first = nn.Conv3d(config.patch**3, widths[0], 3, padding=1)
        halving = [
            nn.Conv3d(before, after, 4, stride=2, padding=1) for before, after in pairwise(widths)
        ]
        self.levels = nn.ModuleList(spectral_norm(layer) for layer in (first, *halving))
        size = widths[-1] * math.prod(coarsest(config.shape, config.patch, widths))
        self.dense = spectral_norm(nn.Linear(size, 1))

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B,) float32, and the features (B, C, x, y, z) float32 of `feature_level`."""
        hidden = space_to_depth(volume, self.config.patch)
        features = hidden
        for number, level in enumerate(self.levels):
            hidden = nn.functional.leaky_relu(level(hidden), SLOPE)
            if number == self.config.feature_level:
                features = hidden
        logits = self.dense(hidden.flatten(1))[:, 0]
        return logits.float(), features.float()


class Encoder(nn.Module):
    """Volumes (B, 1, X, Y, Z) to mean and log-variance of their latent, each (B, L) float32.

    The input of the last layer is scaled by the root of its size (the equalised learning rate of
    Karras et al. 2018 section 4.1): without that a step of Adam on its ten thousand weights a value
    moves every latent by about 1, as far as the prior is wide.
    """

    def __init__(self, config: CriticConfig, latent: int, norm_num_groups: int) -> None:
        super().__init__()
        self.patch = config.patch
        widths = config.channels
        layers: list[nn.Module] = [nn.Conv3d(config.patch**3, widths[0], 3, padding=1)]
        for before, after in pairwise(widths):
            layers += [
                nn.GroupNorm(norm_num_groups, before),
                nn.LeakyReLU(SLOPE),
                nn.Conv3d(before, after, 4, stride=2, padding=1),
            ]
        self.levels = nn.Sequential(*layers, nn.LeakyReLU(SLOPE))
        size = widths[-1] * math.prod(coarsest(config.shape, config.patch, widths))
        self.scale = 1 / math.sqrt(size)
        self.dense = nn.Linear(size, 2 * latent)

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.levels(space_to_depth(volume, self.patch))
        mean, log_variance = self.dense(self.scale * hidden.flatten(1)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)


class VaeGan(nn.Module):
    """The encoder and the decoder of the VAE-GAN; the decoder is the generator."""

    def __init__(self, generator: GeneratorConfig, critic: CriticConfig) -> None:
        super().__init__()
        self.generator = Generator(generator)
        self.encoder = Encoder(critic, generator.latent, generator.norm_num_groups)

    def reconstruct(self, volume: Tensor) -> Tensor:
        """The volume (B, 1, X, Y, Z) decoded from its latent's mean."""
        volume_again: Tensor = self.generator(self.encoder(volume)[0])
        return volume_again

    def forward(
        self, volume: Tensor, noise: Tensor, prior: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the loss of Larsen et al. 2016 needs, in one pass.

        Args:
            volume: (B, 1, X, Y, Z).
            noise: (B, L), N(0, 1), of the reparametrisation.
            prior: (B, L), N(0, 1), latents of no volume.

        Returns:
            the reconstruction (B, 1, X, Y, Z); the volumes for the critic (2B, 1, X, Y, Z), the
            same reconstruction and one of `prior`, whose gradient ends at the decoder ("limiting
            error signals to relevant networks", section 2.3); mean and log-variance (B, L).
        """
        mean, log_variance = self.encoder(volume)
        latent = mean + (0.5 * log_variance).exp() * noise
        decoded = self.generator(torch.cat([latent, latent.detach(), prior]))
        size = len(volume)
        return decoded[:size], decoded[size:], mean, log_variance
