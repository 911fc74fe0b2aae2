"""Training the diffusion model on encoded latents: samples, loss, validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ldm import noise
from ldm.diffusion.emphasis import MIN_SNR, min_snr_weights, time_step
from ldm.diffusion.samplers import target
from ldm.diffusion.schedule import Schedule
from ldm.training.config import TrainingConfig

# Time steps, as shares of T, at which validation measures the loss.
VALIDATION_TIMES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)


class DiffusionTask:
    """Predict the schedule's target from noisy latents (Ho et al. 2020; Rombach et al. 2022).

    Args:
        paths: one `.npy` a subject, (copies, 2, C, x, y, z): mean and log-variance.
        conditions: (N, K) scaled covariates; (N, copies, K) where those of copies differ. NaN
            is one that is not known: it is left out as a dropped one is, alone.
        latent_mean, latent_std: (C,); the network sees (z - mean) / std.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        conditions: np.ndarray,
        latent_mean: Sequence[float],
        latent_std: Sequence[float],
        schedule: Schedule,
        config: TrainingConfig,
    ) -> None:
        self.paths = list(paths)
        self.count = len(self.paths)
        given = np.asarray(conditions, dtype=np.float32)
        given = given[:, None] if given.ndim == 2 else given
        self.unknown = np.isnan(given)
        self.conditions = np.nan_to_num(given, nan=0.0)
        self.mean = np.array(latent_mean, dtype=np.float32).reshape(-1, 1, 1, 1)
        self.std = np.array(latent_std, dtype=np.float32).reshape(-1, 1, 1, 1)
        self.schedule = schedule
        self.config = config
        weighted = config.loss_weighting == MIN_SNR
        self.weights = torch.from_numpy(min_snr_weights(schedule)).float() if weighted else None

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`latent`, `noise` (B, C, x, y, z), `step` (B,), `conditions` (B, K), `dropped` (B,).

        Time steps are stratified over the global batch, which lowers the loss's variance.
        `dropped` is there only where conditions are ever dropped; it is (B, K) where some subject
        lacks one.
        """
        latents, noises, times, given, dropped, unknown = [], [], [], [], [], []
        for index, position in zip(indices, positions, strict=True):
            rng = noise.generator(noise.TRAINING, self.config.seed, step, position)
            stored = np.load(self.paths[index], mmap_mode="r")
            copy = int(rng.integers(len(stored)))
            mean, log_variance = np.asarray(stored[copy], dtype=np.float32)
            place = index, min(copy, self.conditions.shape[1] - 1)
            given.append(self.conditions[place])
            unknown.append(self.unknown[place])
            z = mean + np.exp(0.5 * log_variance) * rng.standard_normal(mean.shape, np.float32)
            latents.append((z - self.mean) / self.std)
            noises.append(rng.standard_normal(mean.shape, np.float32))
            stratum = (position + rng.random()) / self.config.batch_size
            times.append(time_step(stratum, self.schedule, self.config.timesteps))
            # Drawn last, so that all else of a sample is the same with any dropout.
            dropped.append(rng.random() < self.config.condition_dropout)
        samples = {
            "latent": torch.from_numpy(np.stack(latents)),
            "noise": torch.from_numpy(np.stack(noises)),
            "step": torch.tensor(times),
            "conditions": torch.from_numpy(np.stack(given)),
        }
        if self.config.condition_dropout:
            samples["dropped"] = torch.tensor(dropped)
        if self.unknown.any():
            samples["dropped"] = torch.from_numpy(np.array(dropped)[:, None] | np.stack(unknown))
        return samples

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the prediction, weighted as asked; without the conditions where
        they are dropped."""
        squared = self.squared_error(model, samples)
        if self.weights is None:
            return squared.mean(), {}
        weights = self.weights.to(squared.device)[samples["step"]]
        return (weights * squared.flatten(1).mean(1)).mean(), {}

    def squared_error(self, model: nn.Module, samples: dict[str, Tensor]) -> Tensor:
        """Of the prediction, (B, C, x, y, z)."""
        noisy, wanted = target(samples["latent"], samples["noise"], samples["step"], self.schedule)
        given = [samples[name] for name in ("step", "conditions", "dropped") if name in samples]
        found = model(noisy, *given)
        return (found.float() - wanted).pow(2)

    @torch.inference_mode()
    def validate(
        self, network: nn.Module, indices: Sequence[int], device: torch.device
    ) -> dict[str, float]:
        """Sums over `indices` of the loss at fixed time steps and noise, without weights so that
        runs of any weighting compare, and their count.

        Where conditions are ever dropped also of `loss_unconditional`, with all of them dropped.
        """
        sums = {"loss": 0.0, "count": 0.0}
        if self.config.condition_dropout:
            sums["loss_unconditional"] = 0.0
        for index in indices:
            mean = np.asarray(np.load(self.paths[index], mmap_mode="r")[0, 0], dtype=np.float32)
            latent = (mean - self.mean) / self.std
            times = [int(share * (self.schedule.steps - 1)) for share in VALIDATION_TIMES]
            drawn = noise.normal((len(times), *latent.shape), noise.TRAINING, 1 << 32, index)
            samples = {
                "latent": torch.from_numpy(np.repeat(latent[None], len(times), axis=0)),
                "noise": torch.from_numpy(drawn),
                "step": torch.tensor(times),
                "conditions": torch.from_numpy(self.conditions[[index] * len(times), 0]),
            }
            if self.unknown.any():
                samples["dropped"] = torch.from_numpy(self.unknown[[index] * len(times), 0])
            samples = {name: tensor.to(device) for name, tensor in samples.items()}
            sums["loss"] += float(self.squared_error(network, samples).mean())
            if self.config.condition_dropout:
                samples["dropped"] = torch.ones(len(times), dtype=torch.bool, device=device)
                sums["loss_unconditional"] += float(self.squared_error(network, samples).mean())
            sums["count"] += 1
        return sums
