"""The stages of a training, each as its network and its loss on tensors of no meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ldm.networks import Autoencoder, Denoiser
from ldm.networks.precision import PRECISIONS
from ldm.networks.refiner import noise_shape
from ldm.training import adversarial
from ldm.training.adversarial import PatchCritic
from ldm.training.config import TrainingConfig
from ldm.training.decoder import Blurred, new_refiner, velocity_loss
from ldm.training.distance import FeatureDistance
from ldm.training.features import FeatureNetwork
from ldm.training.forecast.memory import AsOnGpu, held_bytes
from ldm.training.presets import Preset


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A network in training.

    Attributes:
        network: that is trained.
        loss: of so many samples.
        beside: networks that are trained by turns with it.
    """

    network: nn.Module
    loss: Callable[[int], Tensor]
    beside: tuple[nn.Module, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a training step takes.

    Attributes:
        parameters: of the network.
        held: bytes held at once, see `memory.held_bytes`.
        operations: floating-point operations of a sample, there and back.
    """

    parameters: int
    held: int
    operations: float


def autoencoder(preset: Preset, config: TrainingConfig) -> Stage:
    """The autoencoder with those of its terms that have a weight."""
    network = Autoencoder(preset.autoencoder)
    critic = PatchCritic(preset.critic) if config.adversarial_weight else None
    features = FeatureNetwork(preset.features) if config.perceptual_weight else None

    def loss(count: int) -> Tensor:
        volume = torch.rand(count, 1, *preset.grid.shape)
        found, mean, std = network(volume, torch.rand(count, *preset.latent_shape))
        found = found.float()
        total: Tensor = (found - volume).abs().mean() + (mean.float() + std.float()).mean()
        if features is not None:
            distance = FeatureDistance(features.requires_grad_(False).features)
            total = total + distance(found, volume)
        if critic is not None:
            critic.requires_grad_(False)
            total = total + adversarial.generator_loss(critic(found))
        return total

    return Stage(network=network, loss=loss, beside=(critic,) if critic else ())


def diffusion(preset: Preset, config: TrainingConfig) -> Stage:
    """The U-Net on latents."""
    network = Denoiser(preset.denoiser)

    def loss(count: int) -> Tensor:
        latent = torch.rand(count, *preset.latent_shape)
        conditions = torch.rand(count, preset.denoiser.conditions)
        found = network(latent, torch.zeros(count, dtype=torch.long), conditions)
        error: Tensor = (found.float() - latent).pow(2).mean()
        return error

    return Stage(network=network, loss=loss)


def decoder(preset: Preset, config: TrainingConfig) -> Stage:
    """The refiner, on volumes that are decoded without being learnt from."""
    plain = Autoencoder(preset.autoencoder)
    channels = preset.autoencoder.latent_channels
    refiner = new_refiner(preset.refiner, plain, [0.0] * channels, [1.0] * channels)

    def loss(count: int) -> Tensor:
        latent = torch.rand(count, *preset.latent_shape)
        with torch.no_grad():
            blurred = plain.decode(latent).float()
        return velocity_loss(
            refiner,
            refiner,
            torch.rand(count, 1, *preset.grid.shape),
            Blurred(blurred, latent),
            torch.rand(count),
            torch.rand(count, *noise_shape(preset.grid.shape)),
        )

    return Stage(network=refiner, loss=loss)


def forecast(
    make: Callable[[Preset, TrainingConfig], Stage],
    preset: Preset,
    config: TrainingConfig,
    at_once: int,
) -> Forecast:
    """What a stage takes with so many samples at once; nothing is computed, and no data held."""
    with FakeTensorMode(), AsOnGpu():
        stage = make(preset, config)
        with FlopCounterMode(display=False) as counter, autocast(config.precision):
            stage.loss(1).backward()
        trained = [stage.network, *stage.beside]

        def forward() -> Tensor:
            with autocast(config.precision):
                return stage.loss(at_once)

        held = held_bytes(
            stage.network,
            forward,
            trained=sum(p.numel() for net in trained for p in net.parameters()),
            checkpointing=config.activation_checkpointing,
        )
    return Forecast(
        parameters=sum(p.numel() for p in stage.network.parameters()),
        held=held,
        operations=float(counter.get_total_flops()),
    )


def autocast(precision: str) -> torch.autocast:
    """As a training of that precision computes."""
    return torch.autocast("cpu", dtype=PRECISIONS[precision], enabled=precision != "fp32")
