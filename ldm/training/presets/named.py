"""The named presets: each a function that returns everything a training run must agree on."""

from __future__ import annotations

from collections.abc import Callable

from ldm.diffusion.schedule import Schedule
from ldm.networks import AutoencoderConfig, DenoiserConfig, RefinerConfig
from ldm.training.adversarial import PatchCriticConfig
from ldm.training.config import TrainingConfig
from ldm.training.features import FeatureConfig
from ldm.training.presets.config import Preset
from ldm.volumes.grid import Grid


def paper() -> Preset:
    """Pinaya et al. 2022: 1 mm, the networks of MONAI's published bundle."""
    return Preset(
        name="paper",
        grid=Grid(shape=(160, 224, 160), spacing=1.0, centre=(0.98, -13.98, 18.95)),
        autoencoder=AutoencoderConfig(
            channels=(64, 128, 128, 128), latent_channels=3, num_res_blocks=2, norm_num_groups=32
        ),
        denoiser=DenoiserConfig(
            latent_channels=3,
            conditions=4,
            channels=(256, 512, 768),
            num_res_blocks=2,
            attention_levels=(False, True, True),
            head_channels=(0, 512, 768),
            norm_num_groups=32,
        ),
        schedule=Schedule(),
        # The paper names the terms [P]; their weights, the rates and the critic are those of the
        # author's nearest published code [S]; steps and batch size are ours [U]. Its critic begins
        # with epoch 5: 5 x 31,740 subjects / 8.
        train_autoencoder=TrainingConfig(
            steps=200_000,
            batch_size=8,
            micro_batch=1,
            learning_rate=5e-5,
            critic_learning_rate=1e-4,
            kl_weight=1e-8,
            perceptual_weight=0.002,
            adversarial_weight=0.005,
            adversarial_from=20_000,
        ),
        critic=PatchCriticConfig(channels=96, layers=3),
        perceptual="monai",
        features=FeatureConfig(channels=(16, 32, 64), piece=64),
        train_features=TrainingConfig(
            steps=2_000, batch_size=8, learning_rate=2e-3, cooldown_steps=700, ema_decay=0.99
        ),
        # No condition dropout: the paper has none [P]. --condition-dropout adds it.
        train_diffusion=TrainingConfig(
            steps=300_000, batch_size=64, micro_batch=16, learning_rate=2.5e-5
        ),
        # Not in the paper: for cohorts too small for its last steps of denoising [U].
        refiner=RefinerConfig(channels=(64, 128, 256, 256)),
        train_decoder=TrainingConfig(
            steps=100_000,
            batch_size=8,
            micro_batch=1,
            learning_rate=2e-4,
            cooldown_steps=30_000,
        ),
        latent_copies=1,
        standardise_conditions=False,
    )


def lab() -> Preset:
    """1.5 mm, between the two: one GPU of 24 GB, and a night.

    Widths and batches by what is held on the way back and by the operations of a step, both
    calculated (docs/training.md); not trained yet [U].
    """
    return Preset(
        name="lab",
        grid=Grid(shape=(112, 144, 112), spacing=1.5),
        autoencoder=AutoencoderConfig(
            channels=(32, 64, 128), latent_channels=8, num_res_blocks=2, norm_num_groups=16
        ),
        denoiser=DenoiserConfig(
            latent_channels=8,
            conditions=4,
            channels=(96, 160, 224),
            num_res_blocks=2,
            attention_levels=(False, False, True),
            head_channels=(0, 0, 56),
            norm_num_groups=32,
        ),
        refiner=RefinerConfig(channels=(64, 128, 160)),
        schedule=Schedule(prediction="v"),
        # Terms and their weights as the paper's; the critic begins halfway.
        train_autoencoder=TrainingConfig(
            steps=8_000,
            batch_size=4,
            micro_batch=2,
            learning_rate=3e-4,
            kl_weight=1e-8,
            perceptual_weight=0.002,
            adversarial_weight=0.005,
            adversarial_from=4_000,
            adversarial_warmup=1_000,
            save_every=500,
        ),
        critic=PatchCriticConfig(channels=48, layers=3),
        features=FeatureConfig(channels=(16, 32, 64), piece=48),
        train_features=TrainingConfig(
            steps=1_000, batch_size=8, learning_rate=2e-3, cooldown_steps=350, ema_decay=0.98
        ),
        train_diffusion=TrainingConfig(
            steps=20_000, batch_size=16, learning_rate=2e-4, condition_dropout=0.1, save_every=1_000
        ),
        train_decoder=TrainingConfig(
            steps=15_000,
            batch_size=4,
            learning_rate=4e-4,
            cooldown_steps=5_000,
            weight_decay=1e-4,
            save_every=1_000,
        ),
        latent_copies=8,
        standardise_conditions=True,
    )


def demo() -> Preset:
    """2.5 mm, small enough for two CPU cores to train in an hour and to sample in seconds."""
    return Preset(
        name="demo",
        grid=Grid(shape=(64, 80, 64), spacing=2.5),
        autoencoder=AutoencoderConfig(
            channels=(32, 64), latent_channels=8, num_res_blocks=1, norm_num_groups=8, patch=2
        ),
        denoiser=DenoiserConfig(
            latent_channels=8,
            conditions=4,
            channels=(128, 128),
            num_res_blocks=1,
            attention_levels=(False, True),
            head_channels=(0, 64),
            norm_num_groups=16,
            patch=2,
            branch_channels=32,
            branch_blocks=4,
        ),
        refiner=RefinerConfig(channels=(64, 128, 160)),
        schedule=Schedule(prediction="v"),
        train_autoencoder=TrainingConfig(
            steps=2_500, batch_size=2, learning_rate=1e-3, kl_weight=1e-6 / 40_960, ema_decay=0.995
        ),
        critic=PatchCriticConfig(channels=16, layers=3),
        features=FeatureConfig(channels=(16, 32, 64), piece=32),
        train_features=TrainingConfig(
            steps=200,
            batch_size=8,
            learning_rate=2e-3,
            warmup_steps=20,
            cooldown_steps=70,
            ema_decay=0.98,
        ),
        train_diffusion=TrainingConfig(
            steps=2_000, batch_size=16, learning_rate=4e-4, ema_decay=0.995, condition_dropout=0.1
        ),
        train_decoder=TrainingConfig(
            steps=4_400,
            batch_size=2,
            learning_rate=5e-4,
            cooldown_steps=1_320,
            weight_decay=1e-4,
            save_every=500,
        ),
        latent_copies=8,
        standardise_conditions=True,
    )


def tiny() -> Preset:
    """The same line at a size for tests: 10 mm, seconds to train.

    In float32: on CPUs the bf16 weight gradient of a 3x3x3 convolution over an input exactly two
    voxels deep is now and then NaN (oneDNN in torch 2.13 reads memory that nobody wrote).
    """
    return Preset(
        name="tiny",
        grid=Grid(shape=(16, 24, 16), spacing=10.0),
        autoencoder=AutoencoderConfig(
            channels=(8, 8), latent_channels=2, num_res_blocks=1, norm_num_groups=4, patch=2
        ),
        denoiser=DenoiserConfig(
            latent_channels=2,
            conditions=4,
            channels=(16, 16),
            num_res_blocks=1,
            attention_levels=(False, True),
            head_channels=(0, 16),
            norm_num_groups=8,
        ),
        refiner=RefinerConfig(channels=(8, 8), num_res_blocks=1, norm_num_groups=4, steps=2),
        schedule=Schedule(prediction="v"),
        train_autoencoder=TrainingConfig(
            steps=20,
            batch_size=4,
            learning_rate=2e-3,
            kl_weight=1e-5 / 192,
            save_every=10,
            precision="fp32",
        ),
        critic=PatchCriticConfig(channels=4, layers=1),
        features=FeatureConfig(channels=(4, 8), piece=8),
        train_features=TrainingConfig(
            steps=10, batch_size=4, learning_rate=2e-3, save_every=10, precision="fp32"
        ),
        train_diffusion=TrainingConfig(
            steps=20, batch_size=4, learning_rate=1e-3, save_every=10, precision="fp32"
        ),
        train_decoder=TrainingConfig(
            steps=10, batch_size=2, learning_rate=1e-3, save_every=5, precision="fp32"
        ),
        latent_copies=2,
        standardise_conditions=True,
    )


PRESETS: dict[str, Callable[[], Preset]] = {
    "demo": demo,
    "lab": lab,
    "paper": paper,
    "tiny": tiny,
}
