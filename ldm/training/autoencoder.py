"""Training the autoencoder: samples, loss, validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldm import noise
from ldm.errors import LdmError
from ldm.networks import Autoencoder
from ldm.training import adversarial
from ldm.training.config import TrainingConfig
from ldm.training.distance import Perceptual
from ldm.volumes.conversion import quantise, read_volume
from ldm.volumes.quality import measure
from ldm.volumes.resampling import mirrored
from ldm.volumes.spectrum import names, spectrum, window

# Voxels by which a training volume is shifted at most along each axis.
LARGEST_SHIFT = 2
POWER, KURTOSIS = names("power"), names("kurtosis")


class AutoencoderTask:
    """Reconstruct prepared volumes: L1 + perceptual + KL (Pinaya et al. 2022 section 2.1).

    Args:
        paths: prepared volumes, `.npy`.
        perceptual: the distance of the perceptual term, where it has a weight.

    Raises:
        LdmError: a perceptual weight without a distance.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        config: TrainingConfig,
        latent_shape: tuple[int, ...],
        perceptual: Perceptual | None = None,
    ) -> None:
        if config.perceptual_weight and perceptual is None:
            raise LdmError(
                f"perceptual_weight {config.perceptual_weight:g} with no network to compare in; "
                "give one, or weight 0"
            )
        self.paths = list(paths)
        self.count = len(self.paths)
        self.config = config
        self.latent_shape = latent_shape
        self.perceptual = perceptual if config.perceptual_weight else None

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`volume` (B, 1, X, Y, Z), flipped and shifted at random, and `noise` of latent shape.

        Also `step` (B,), and `key` (B,), from which the loss draws.
        """
        keys = [(self.config.seed, step, p) for p in positions]
        volumes = [
            augment(read_volume(self.paths[i]), noise.generator(noise.AUGMENT, *key))
            for i, key in zip(indices, keys, strict=True)
        ]
        drawn = [noise.normal(self.latent_shape, noise.TRAINING, *key) for key in keys]
        numbers = [int(noise.generator(noise.SLICES, *key).integers(1 << 62)) for key in keys]
        return {
            "volume": torch.from_numpy(np.stack(volumes)[:, None]),
            "noise": torch.from_numpy(np.stack(drawn)),
            "step": torch.full((len(keys),), step),
            "key": torch.tensor(numbers),
        }

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms, and each of them unweighted."""
        return self.reconstruct(model, samples)[1:]

    def reconstruct(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The reconstruction (B, 1, X, Y, Z) float32, the loss, its named parts: L1 a voxel, the
        KL divergence of a latent, the perceptual distance."""
        volume = samples["volume"]
        found, mean, std = model(volume, samples["noise"])
        found = found.float()
        parts = {
            "l1": (found - volume).abs().mean(),
            "kl": kl_divergence(mean.float(), std.float()),
        }
        loss = parts["l1"] + self.config.kl_weight * parts["kl"]
        if self.perceptual is not None:
            parts["perceptual"] = self.perceptual(found, volume, samples["key"])
            loss = loss + self.config.perceptual_weight * parts["perceptual"]
        return found, loss, parts


class AdversarialAutoencoderTask(AutoencoderTask):
    """The same with the patch-adversarial term, from step `adversarial_from`; its weight rises over
    `adversarial_warmup` steps.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        config: TrainingConfig,
        latent_shape: tuple[int, ...],
        critic: nn.Module,
        perceptual: Perceptual | None = None,
    ) -> None:
        super().__init__(paths, config, latent_shape, perceptual)
        self.critic = critic

    def plays(self, step: int) -> bool:
        """Whether the critic takes part in this step (from 0)."""
        return step >= self.config.adversarial_from

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As without a critic, and `adversarial`; leaves `reconstruction` for the critic."""
        found, loss, parts = self.reconstruct(model, samples)
        if self.plays(int(samples["step"][0])):
            parts["adversarial"] = adversarial.generator_loss(self.critic(found))
            weight = self.config.adversarial_weight_at(int(samples["step"][0]))
            loss = loss + weight * parts["adversarial"]
            samples["reconstruction"] = found.detach()
        return loss, parts

    def critic_loss(
        self, critic: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss over the volumes and their reconstructions."""
        return adversarial.critic_loss(critic, samples["volume"], samples["reconstruction"])


def kl_divergence(mean: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of (B, C, x, y, z), summed over a latent's values and the mean
    over the batch (Kingma & Welling 2014 app. B; as Rombach et al. 2022 weigh it)."""
    return 0.5 * (mean**2 + std**2 - 2 * std.log() - 1).flatten(1).sum(1).mean()


def augment(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A left-right flip half the time and a shift by whole voxels; (X, Y, Z) float32."""
    (volume,) = mirrored(rng, volume)
    shift = rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, size=3)
    padded = np.pad(volume, LARGEST_SHIFT)
    window = tuple(
        slice(LARGEST_SHIFT + s, LARGEST_SHIFT + s + n)
        for s, n in zip(shift, volume.shape, strict=True)
    )
    return np.ascontiguousarray(padded[window])


@torch.inference_mode()
def validate(network: Autoencoder, paths: Sequence[Path], device: torch.device) -> dict[str, float]:
    """Sums over the volumes at `paths`: L1, PSNR (dB), SSIM, `edges` and `texture`'s figures, and
    their count.

    `edges` is the edge strength (`ldm.volumes.quality`) of the reconstruction over the volume's
    own: below 1 it is blurred. The sums, not the means, so that workers' shares add up.
    """
    sums = dict.fromkeys(("l1", "psnr", "ssim", "edges", *POWER, *KURTOSIS, "count"), 0.0)
    for path in paths:
        volume = torch.from_numpy(read_volume(path))[None, None].to(device)
        found = network.decode(network.encode(volume)[0]).float().clamp(0, 1)
        for name, value in (fidelity(found, volume) | texture(found, volume)).items():
            sums[name] += value
        sums["edges"] += edge_strength(found) / max(edge_strength(volume), 1e-6)
        sums["count"] += 1
    return sums


def edge_strength(volume: Tensor) -> float:
    """Of one (1, 1, X, Y, Z) in [0, 1]; see `ldm.volumes.quality`."""
    return measure(quantise(volume[0, 0].cpu().numpy()))["edge_strength"]


def texture(found: Tensor, wanted: Tensor) -> dict[str, float]:
    """By band of spatial frequency (`ldm.volumes.spectrum`, the window that of `wanted`), of two
    (1, 1, X, Y, Z) in [0, 1]: `power_0.26_0.30`, power over that of `wanted`, below 1 where it is
    blurred; `kurtosis_0.26_0.30`, excess kurtosis less that of `wanted`, below 0 where mottled."""
    decoded, volume = (one[0, 0].float().cpu().numpy() for one in (found, wanted))
    within = window(volume)
    mine, own = spectrum(decoded, within), spectrum(volume, within)
    power = dict(zip(POWER, (mine.power / own.power).tolist(), strict=True))
    return power | dict(zip(KURTOSIS, (mine.kurtosis - own.kurtosis).tolist(), strict=True))


def fidelity(found: Tensor, wanted: Tensor) -> dict[str, float]:
    """L1, PSNR in dB and SSIM (Wang et al. 2004, 7^3 window) of two (1, 1, X, Y, Z) in [0, 1], in
    float32 also under autocast: variances of a window are small differences of large numbers."""
    from monai.metrics import SSIMMetric

    found, wanted = found.float(), wanted.float()
    mse = float((found - wanted).pow(2).mean())
    ssim: Any = SSIMMetric(spatial_dims=3, data_range=1.0, win_size=7)
    with torch.autocast(found.device.type, enabled=False):
        similarity = float(ssim(found, wanted).mean())
    return {
        "l1": float((found - wanted).abs().mean()),
        "psnr": float(-10 * np.log10(max(mse, 1e-12))),
        "ssim": similarity,
    }
