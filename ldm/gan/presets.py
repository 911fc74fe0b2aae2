"""The presets of the baselines: networks of each size, and how each kind is trained.

Pinaya et al. 2022 publish neither the architectures nor the training of their baselines: these
are ours, of the same output shape as the preset of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ldm.errors import LdmError
from ldm.gan.config import LSGAN, VAE_GAN, CriticConfig, GeneratorConfig
from ldm.training.config import TrainingConfig
from ldm.training.presets import preset
from ldm.volumes.grid import Grid


@dataclass(frozen=True, kw_only=True)
class GanPreset:
    """A grid, the networks, and how each kind of GAN is trained; `training` is by kind."""

    name: str
    grid: Grid
    generator: GeneratorConfig
    critic: CriticConfig
    training: Mapping[str, TrainingConfig]

    def __post_init__(self) -> None:
        if not self.generator.shape == self.critic.shape == self.grid.shape:
            raise LdmError(f"GAN preset {self.name}: networks and grid differ in shape")


def paper() -> GanPreset:
    """160 x 224 x 160, 1 mm, for GPUs of 80 GB."""
    grid = preset("paper").grid
    lsgan = TrainingConfig(
        steps=100_000,
        batch_size=16,
        micro_batch=2,
        learning_rate=2e-4,
        critic_learning_rate=2e-4,
        beta1=0.5,
        save_every=1_000,
    )
    return GanPreset(
        name="paper",
        grid=grid,
        generator=GeneratorConfig(
            shape=grid.shape, latent=256, channels=(512, 256, 128, 64, 32, 16), norm_num_groups=8
        ),
        critic=CriticConfig(
            shape=grid.shape, channels=(16, 32, 64, 128, 256, 512), feature_level=2
        ),
        training=_both(lsgan, batch_size=16),
    )


def demo() -> GanPreset:
    """64 x 80 x 64, 2.5 mm, for two CPU cores."""
    grid = preset("demo").grid
    lsgan = TrainingConfig(
        steps=2_500,
        batch_size=4,
        learning_rate=4e-4,
        critic_learning_rate=2e-4,
        beta1=0.5,
        ema_decay=0.995,
        save_every=250,
    )
    return GanPreset(
        name="demo",
        grid=grid,
        generator=GeneratorConfig(
            shape=grid.shape, latent=128, channels=(192, 96, 48, 16), norm_num_groups=8, patch=2
        ),
        critic=CriticConfig(shape=grid.shape, channels=(32, 64, 96, 128), feature_level=1, patch=2),
        training=_both(lsgan, batch_size=2),
    )


def tiny() -> GanPreset:
    """16 x 24 x 16, 10 mm, for tests; in float32 as every tiny network
    (`ldm.training.presets.tiny`)."""
    grid = preset("tiny").grid
    lsgan = TrainingConfig(
        steps=20,
        batch_size=4,
        learning_rate=2e-3,
        critic_learning_rate=1e-3,
        beta1=0.5,
        ema_decay=0.9,
        save_every=10,
        precision="fp32",
    )
    return GanPreset(
        name="tiny",
        grid=grid,
        generator=GeneratorConfig(
            shape=grid.shape, latent=8, channels=(16, 8), norm_num_groups=4, patch=2
        ),
        critic=CriticConfig(shape=grid.shape, channels=(8, 16), feature_level=0, patch=2),
        training=_both(lsgan, batch_size=4),
    )


PRESETS: dict[str, Callable[[], GanPreset]] = {"demo": demo, "paper": paper, "tiny": tiny}


def gan_preset(name: str) -> GanPreset:
    """The preset of this name.

    Raises:
        LdmError: there is none.
    """
    if name not in PRESETS:
        raise LdmError(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]()


def _both(lsgan: TrainingConfig, batch_size: int) -> dict[str, TrainingConfig]:
    """A VAE-GAN decodes three volumes for each of a batch, and its terms want weights.

    Its critic must not run ahead: the features in which volumes are compared are its own.
    """
    vae_gan = replace(
        lsgan,
        batch_size=batch_size,
        critic_learning_rate=lsgan.critic_learning_rate / 4,
        kl_weight=3e-2,
        adversarial_weight=5e-4,
    )
    return {LSGAN: lsgan, VAE_GAN: vae_gan}
