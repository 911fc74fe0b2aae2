"""Training the autoencoder: samples, loss, validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldm import noise
from ldm.networks import Autoencoder
from ldm.training.config import TrainingConfig
from ldm.volumes import dequantise

# Voxels by which a training volume is shifted at most along each axis.
LARGEST_SHIFT = 2


class AutoencoderTask:
    """Reconstruct prepared volumes; L1 + KL (Pinaya et al. 2022 section 2.1)."""

    def __init__(
        self, paths: Sequence[Path], config: TrainingConfig, latent_shape: tuple[int, ...]
    ) -> None:
        self.paths = list(paths)
        self.count = len(self.paths)
        self.config = config
        self.latent_shape = latent_shape

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`volume` (B, 1, X, Y, Z), flipped and shifted at random, and `noise` of latent shape."""
        keys = [(self.config.seed, step, p) for p in positions]
        volumes = [
            augment(read_volume(self.paths[i]), noise.generator(noise.AUGMENT, *key))
            for i, key in zip(indices, keys, strict=True)
        ]
        drawn = [noise.normal(self.latent_shape, noise.TRAINING, *key) for key in keys]
        return {
            "volume": torch.from_numpy(np.stack(volumes)[:, None]),
            "noise": torch.from_numpy(np.stack(drawn)),
        }

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L1 a voxel, and the KL divergence a latent value times its weight."""
        volume = samples["volume"]
        reconstruction, mean, std = model(volume, samples["noise"])
        l1 = (reconstruction.float() - volume).abs().mean()
        kl = kl_divergence(mean.float(), std.float())
        return l1 + self.config.kl_weight * kl, {"l1": l1, "kl": kl}


def kl_divergence(mean: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)), the mean over latent values (Kingma & Welling 2014 app. B)."""
    return 0.5 * (mean**2 + std**2 - 2 * std.log() - 1).mean()


def augment(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A left-right flip half the time and a shift by whole voxels; (X, Y, Z) float32."""
    if rng.random() < 0.5:
        volume = volume[::-1]
    shift = rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, size=3)
    padded = np.pad(volume, LARGEST_SHIFT)
    window = tuple(
        slice(LARGEST_SHIFT + s, LARGEST_SHIFT + s + n)
        for s, n in zip(shift, volume.shape, strict=True)
    )
    return np.ascontiguousarray(padded[window])


def read_volume(path: Path) -> np.ndarray:
    """A prepared volume (X, Y, Z) as float32 in [0, 1]."""
    return dequantise(np.load(path, mmap_mode="r"))


@torch.inference_mode()
def validate(network: Autoencoder, paths: Sequence[Path], device: torch.device) -> dict[str, float]:
    """Sums over the volumes at `paths`: L1, PSNR (dB) and SSIM, and their count.

    The sums, not the means, so that workers' shares add up.
    """
    sums = {"l1": 0.0, "psnr": 0.0, "ssim": 0.0, "count": 0.0}
    for path in paths:
        volume = torch.from_numpy(read_volume(path))[None, None].to(device)
        found = network.decode(network.encode(volume)[0]).float().clamp(0, 1)
        for name, value in fidelity(found, volume).items():
            sums[name] += value
        sums["count"] += 1
    return sums


def fidelity(found: Tensor, wanted: Tensor) -> dict[str, float]:
    """L1, PSNR in dB and SSIM (Wang et al. 2004, 7^3 window) of two (1, 1, X, Y, Z) in [0, 1]."""
    from monai.metrics import SSIMMetric

    mse = float((found - wanted).pow(2).mean())
    ssim: Any = SSIMMetric(spatial_dims=3, data_range=1.0, win_size=7)
    return {
        "l1": float((found - wanted).abs().mean()),
        "psnr": float(-10 * np.log10(max(mse, 1e-12))),
        "ssim": float(ssim(found, wanted).mean()),
    }
