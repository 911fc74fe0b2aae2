"""A loaded model: covariates and noise in, volumes out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from ldm import noise
from ldm.covariates import Row
from ldm.covariates.plausible import beyond, check_asked
from ldm.diffusion.guidance import guided
from ldm.diffusion.samplers import sample
from ldm.diffusion.schedule import Schedule
from ldm.errors import LdmError
from ldm.models.base import LoadedModel
from ldm.models.description import AUTOENCODER, DENOISER, ModelDescription
from ldm.models.folder import write
from ldm.models.inference import Ahead, attend_to_one_token, on_host
from ldm.models.memory import decoding_rows
from ldm.models.notebook import completed, few_threads
from ldm.networks import Autoencoder, Denoiser, channels_last
from ldm.networks.precision import PRECISIONS, autocast, cast
from ldm.networks.refiner import noise_shape
from ldm.networks.weights import weight_bytes
from ldm.volumes.conversion import to_image


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
        compiled: bool = False,
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
        if self._dtype != torch.float32:  # float32 stays the reference, to the last bit
            attend_to_one_token(self.denoiser)
        self._denoise: Callable[..., Tensor] = self.denoiser
        self._rows = _rows(description, device)
        self._decoded: Callable[[Tensor], Tensor] = partial(
            self.autoencoder.decode, rows=self._rows
        )
        self._refiner: Callable[..., Tensor] | None = None
        if self.autoencoder.config.refiner.channels:
            self._refiner = self.autoencoder.refiner
        if compiled:
            self._denoise = torch.compile(self.denoiser, dynamic=False)
            if self._rows is None:
                self._decoded = torch.compile(self.autoencoder.decode, dynamic=False)
            if self._refiner is not None:
                self._refiner = torch.compile(self.autoencoder.refiner, dynamic=False)
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
        steps: int | None = None,
        sampler: str | None = None,
        eta: float | None = None,
        guidance: float | None = None,
    ) -> np.ndarray:
        """Volumes (B, X, Y, Z) uint16, 0..4095; `ldm.volumes.conversion.NOT_FINITE` marks NaN.

        Args:
            covariates: B complete rows in physical units.
            noise_keys: B integer tuples; all noise of a sample is a function of its own.
            steps, sampler, eta, guidance: see `ldm.diffusion.config.Sampling`; None takes the
                model's.

        Raises:
            LdmError: a covariate that the schema refuses, an unknown sampler, an option that it
                does not take, too many steps, guidance of a model not trained for it.
        """
        if len(covariates) != len(noise_keys) or not covariates:
            raise LdmError(f"{len(covariates)} covariate rows for {len(noise_keys)} noise keys")
        latents = self.sample_latents(
            covariates, noise_keys, steps=steps, sampler=sampler, eta=eta, guidance=guidance
        )
        return self.finish(latents, noise_keys)

    @torch.inference_mode()
    def sample_latents(
        self,
        covariates: Sequence[Row],
        noise_keys: Sequence[tuple[int, ...]],
        *,
        steps: int | None = None,
        sampler: str | None = None,
        eta: float | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """Latents (B, C, x, y, z) float32, in the autoencoder's own scale."""
        sampling = self.description.sampling.altered(
            sampler=sampler, steps=steps, eta=eta, guidance=guidance
        )
        calibration = self.description.calibration
        rows = np.stack([calibration.conditions(self.schema, row) for row in covariates])
        conditions = torch.from_numpy(rows).to(self.device)

        on_gpu = torch.device(self.device).type == "cuda"
        draw = partial(self._drawn, self.latent_shape, noise_keys)

        def predict(latent: Tensor, times: Tensor, dropped: Tensor | None = None) -> Tensor:
            with autocast(self.device, self._dtype):
                return self._denoise(latent, times, conditions, dropped)

        everywhere = torch.ones(len(conditions), dtype=torch.bool, device=self.device)

        def step_noise(number: int) -> Tensor:
            return draw(noise.STEP, number)

        ahead = Ahead(step_noise) if on_gpu else None  # on a CPU a worker keeps to its core
        try:
            latents = sample(
                guided(predict, partial(predict, dropped=everywhere), sampling.guidance),
                draw(noise.LATENT),
                self.schedule,
                sampling,
                step_noise=ahead or step_noise,
            )
        finally:
            if ahead is not None:
                ahead.close()
        return latents * self._latent_std + self._latent_mean

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Volumes (B, X, Y, Z) float32 of latents in the autoencoder's scale, before any refiner;
        not clipped."""
        return np.asarray(self._decode(latents).cpu().numpy())

    def _decode(self, latents: Tensor) -> Tensor:
        with autocast(self.device, self._dtype):
            volumes = self._decoded(latents.to(self.device))
        return volumes[:, 0].float()

    @property
    def has_refiner(self) -> bool:
        """Whether fine structure is drawn into a decoded volume, which is blurred before."""
        return self._refiner is not None

    def finish(self, latents: Tensor, noise_keys: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Volumes (B, X, Y, Z) uint16, as `generate` gives them, of what `sample_latents` gave for
        the same noise keys; decoded one at a time: at full size one layer of a single volume takes
        3 GB."""
        pairs = zip(latents, noise_keys, strict=True)
        finished = (self._finished(latent[None], key) for latent, key in pairs)
        return on_host(finished, len(latents), self.grid.shape)

    def _finished(self, latent: Tensor, key: tuple[int, ...]) -> Tensor:
        """The volume (X, Y, Z) of a latent (1, C, x, y, z), with fine structure of its own key."""
        volume = self._decode(latent)
        if self._refiner is None:
            return volume[0]
        drawn = self._drawn(noise_shape(self.grid.shape), [key], noise.REFINE)
        with autocast(self.device, self._dtype):
            fine = self.autoencoder.refine(volume[:, None], latent, drawn, self._refiner)
        return fine[0, 0]

    def _drawn(
        self, shape: Sequence[int], keys: Sequence[tuple[int, ...]], *purpose: int
    ) -> Tensor:
        """N(0, 1) of `shape` for each key, on the device."""
        on_gpu = torch.device(self.device).type == "cuda"
        array = torch.from_numpy(np.stack([noise.normal(shape, *purpose, *key) for key in keys]))
        return (array.pin_memory() if on_gpu else array).to(self.device, non_blocking=on_gpu)

    @torch.inference_mode()
    def reconstruct(self, volumes: np.ndarray) -> np.ndarray:
        """Volumes (B, X, Y, Z) float32 in [0, 1] through the autoencoder and back."""
        with autocast(self.device, self._dtype):
            inputs = torch.from_numpy(volumes[:, None]).to(self.device)
            latents = self.autoencoder.encode(inputs)[0].float()
        return self.decode(latents)

    @completed
    def sample(
        self,
        *,
        seed: int = 0,
        steps: int | None = None,
        sampler: str | None = None,
        eta: float | None = None,
        guidance: float | None = None,
        unconditional: bool = False,
        **covariates: Any,
    ) -> nib.Nifti1Image:
        """One volume as a nibabel image, intensities 0..1, RAS, in the grid's space.

        Covariates not given are drawn from the cohort's distribution given the others. On a CPU it
        takes one thread for a small volume, and for a large one the cores that are idle. A value
        beyond the training data's range is warned of.

        >>> import ldm
        >>> image = ldm.load("demo").sample(age=70, sex="F", seed=1)  # doctest: +SKIP

        Args:
            seed: one seed, one volume.
            steps, sampler, eta, guidance: see `ldm.diffusion.config.Sampling`; None takes the
                model's.
            unconditional: leave the covariates out, as `guidance=0` does.

        Raises:
            LdmError: an unknown covariate or value, one that no person has, and what `generate`
                raises.
        """
        if unconditional and (covariates or guidance not in (None, 0.0, 1.0)):
            found = ", ".join(covariates) or f"guidance {guidance:g}"
            raise LdmError(f"unconditional sampling with {found}: give one or the other")
        asked = self.schema.validate(covariates, partial=True)
        check_asked(self.schema, asked)
        if far := beyond(self.schema, asked):
            warnings.warn(f"beyond what the model was trained on: {'; '.join(far)}", stacklevel=2)
        row = self.distribution.sample(noise.generator(noise.COVARIATES, seed), covariates)
        with few_threads(self):
            volume = self.generate(
                [row],
                [(seed,)],
                steps=steps,
                sampler=sampler,
                eta=eta,
                guidance=0.0 if unconditional else guidance,
            )[0]
        return to_image(volume, self.grid)

    def _per_channel(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, device=self.device).view(1, -1, 1, 1, 1)


def _rows(description: ModelDescription, device: str) -> int | None:
    """How many rows a GPU decodes at a time; a host's memory has room for the whole."""
    if torch.device(device).type != "cuda":
        return None
    return decoding_rows(description, torch.cuda.mem_get_info(device)[1])


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
