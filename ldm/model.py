"""A loaded model: covariates and noise in, volumes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from ldm import noise
from ldm.bundle.source import is_bundle
from ldm.covariates import Row
from ldm.errors import LdmError
from ldm.loaded_model import LoadedModel
from ldm.model_folder import (
    AUTOENCODER,
    DENOISER,
    GAN,
    ModelDescription,
    describe,
    reading,
    verified,
    write,
)
from ldm.networks import Autoencoder, AutoencoderConfig, Denoiser, DenoiserConfig, channels_last
from ldm.precision import PRECISIONS, autocast, cast, resolve
from ldm.samplers import sample
from ldm.schedule import Schedule
from ldm.volumes import quantise, to_image
from ldm.weights import load_weights, weight_bytes

__all__ = ["Model", "describe", "load", "save"]


class Model(LoadedModel):
    """A latent diffusion model ready to sample; see `load`."""

    def __init__(
        self,
        description: ModelDescription,
        autoencoder: Autoencoder,
        denoiser: Denoiser,
        *,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        super().__init__(description, device=device, precision=precision)
        self.schedule = Schedule.from_json(description.schedule)
        self._dtype = PRECISIONS[precision]
        self.autoencoder = autoencoder.eval().requires_grad_(False).to(device)
        self.denoiser = denoiser.eval().requires_grad_(False).to(device)
        cast(self.autoencoder, self._dtype, keep=self.autoencoder.last_convolution)
        cast(self.denoiser, self._dtype)
        channels_last(self.autoencoder)
        channels_last(self.denoiser)
        self._latent_mean = self._per_channel(description.latent_mean)
        self._latent_std = self._per_channel(description.latent_std)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Channels and sides of the latent."""
        config = self.autoencoder.config
        x, y, z = (side // config.factor for side in self.grid.shape)
        return config.latent_channels, x, y, z

    def generate(
        self,
        covariates: Sequence[Row],
        noise_keys: Sequence[tuple[int, ...]],
        *,
        steps: int | None = 50,
        sampler: str = "ddim",
    ) -> np.ndarray:
        """Volumes (B, X, Y, Z) uint16, 0..4095; `ldm.volumes.NOT_FINITE` marks NaN.

        Args:
            covariates: B complete rows in physical units.
            noise_keys: B integer tuples; all noise of a sample is a function of its own.
            steps: calls of the denoiser.
            sampler: "ddim" or "ddpm".

        Raises:
            LdmError: a covariate that the schema refuses, an unknown sampler, too many steps.
        """
        if len(covariates) != len(noise_keys) or not covariates:
            raise LdmError(f"{len(covariates)} covariate rows for {len(noise_keys)} noise keys")
        latents = self.sample_latents(covariates, noise_keys, steps=steps or 50, sampler=sampler)
        return np.stack([quantise(self.decode(latent[None])[0]) for latent in latents])

    @torch.inference_mode()
    def sample_latents(
        self,
        covariates: Sequence[Row],
        noise_keys: Sequence[tuple[int, ...]],
        *,
        steps: int,
        sampler: str,
    ) -> Tensor:
        """Latents (B, C, x, y, z) float32, in the autoencoder's own scale."""
        rows = np.stack([self.schema.scale(row) for row in covariates])
        conditions = torch.from_numpy(rows).to(self.device)

        def draw(*purpose: int) -> Tensor:
            drawn = [noise.normal(self.latent_shape, *purpose, *key) for key in noise_keys]
            return torch.from_numpy(np.stack(drawn)).to(self.device)

        def predict(latent: Tensor, times: Tensor) -> Tensor:
            with autocast(self.device, self._dtype):
                return self.denoiser(latent, times, conditions)

        latents = sample(
            predict,
            draw(noise.LATENT),
            self.schedule,
            sampler=sampler,
            steps=steps,
            step_noise=lambda number: draw(noise.STEP, number),
        )
        return latents * self._latent_std + self._latent_mean

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Volumes (B, X, Y, Z) float32 of latents in the autoencoder's scale; not clipped."""
        with autocast(self.device, self._dtype):
            volumes: Tensor = self.autoencoder.decode(latents.to(self.device))
        return np.asarray(volumes[:, 0].float().cpu().numpy())

    @torch.inference_mode()
    def reconstruct(self, volumes: np.ndarray) -> np.ndarray:
        """Volumes (B, X, Y, Z) float32 in [0, 1] through the autoencoder and back."""
        with autocast(self.device, self._dtype):
            inputs = torch.from_numpy(volumes[:, None]).to(self.device)
            latents = self.autoencoder.encode(inputs)[0].float()
        return self.decode(latents)

    def sample(
        self, *, seed: int = 0, steps: int = 50, sampler: str = "ddim", **covariates: Any
    ) -> nib.Nifti1Image:
        """One volume as a nibabel image, intensities 0..1, RAS, MNI space.

        Covariates not given are drawn from the cohort's distribution given the others.

        >>> import ldm
        >>> image = ldm.load("demo").sample(age=70, sex="F", seed=1)  # doctest: +SKIP

        Raises:
            LdmError: an unknown covariate or value, an unknown sampler, too many steps.
        """
        row = self.distribution.sample(noise.generator(noise.COVARIATES, seed), covariates)
        volume = self.generate([row], [(seed,)], steps=steps, sampler=sampler)[0]
        return to_image(volume, self.grid)

    def _per_channel(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, device=self.device).view(1, -1, 1, 1, 1)


def load(
    source: str | Path = "demo", *, device: str | None = None, precision: str = "auto"
) -> LoadedModel:
    """The model at `source`, every file of it checked against its digest; no pickle is read.

    Args:
        source: "demo", a folder, an s3:// URI, or a MONAI bundle as "monai" or "monai:DIR".
        device: a torch device; by default "cuda" where there is one, else "cpu".
        precision: "auto", "bf16" or "fp32".

    Raises:
        LdmError: no model there, or a file of it missing or damaged.
    """
    description = describe(source)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if description.kind == GAN:
        from ldm.gan.model import load_gan

        return load_gan(source, description, device=device, precision=resolve(precision, device))
    with reading(source):
        autoencoder = Autoencoder(AutoencoderConfig.from_json(description.autoencoder))
        denoiser = Denoiser(DenoiserConfig.from_json(description.denoiser))
        Schedule.from_json(description.schedule)
        channels = {autoencoder.config.latent_channels, denoiser.config.latent_channels}
        channels |= {len(description.latent_mean), len(description.latent_std)}
        if len(channels) > 1 or denoiser.config.conditions != len(description.schema):
            raise LdmError("networks, latent statistics and covariates do not fit together")
    if is_bundle(source):
        from ldm.bundle.weights import load_bundle

        load_bundle(source, autoencoder, denoiser)
    else:
        for name, network in ((AUTOENCODER, autoencoder), (DENOISER, denoiser)):
            load_weights(network, verified(source, name, description.files), f"{source}: {name}")
    return Model(
        description,
        autoencoder,
        denoiser,
        device=device,
        precision=resolve(precision, device),
    )


def save(
    folder: Path,
    description: ModelDescription,
    autoencoder: Autoencoder,
    denoiser: Denoiser,
    *,
    dtype: torch.dtype = torch.float16,
) -> ModelDescription:
    """Write a model folder whole; weights are kept as `dtype`."""
    files = {
        AUTOENCODER: weight_bytes(autoencoder, dtype),
        DENOISER: weight_bytes(denoiser, dtype),
    }
    return write(folder, description, files)
