"""A loaded GAN: noise in, volumes out, with the interface of every model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from ldm import noise
from ldm.covariates import Row
from ldm.errors import LdmError
from ldm.gan.config import GeneratorConfig
from ldm.gan.networks import Generator
from ldm.models.base import LoadedModel
from ldm.models.description import GENERATOR, ONE_PASS, ModelDescription
from ldm.models.folder import reading, verified, write
from ldm.models.inference import on_host
from ldm.models.notebook import completed, few_threads
from ldm.networks import channels_last
from ldm.networks.precision import PRECISIONS, autocast, cast
from ldm.networks.weights import build, load_weights, weight_bytes
from ldm.volumes.conversion import to_image


class GanModel(LoadedModel):
    """An unconditional generator ready to sample; see `ldm.loading.load`."""

    def __init__(
        self,
        description: ModelDescription,
        generator: Generator,
        *,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        super().__init__(description, device=device, precision=precision)
        self._dtype = PRECISIONS[precision]
        self.generator = generator.eval().requires_grad_(False).to(device)
        cast(self.generator, self._dtype, keep=self.generator.last_convolution)
        channels_last(self.generator)

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

        One at a time, so that a volume is the same in any batch.

        Args:
            covariates: B empty rows.
            noise_keys: B integer tuples; the latent of a sample is a function of its own.
            steps, sampler, eta, guidance: one pass is all there is.

        Raises:
            LdmError: a covariate, other steps or a sampler: the model has none.
        """
        steps = 1 if steps is None else steps
        sampler = sampler or ONE_PASS
        if (steps, sampler, eta or 0.0) != (1, ONE_PASS, 0.0) or guidance not in (None, 1.0):
            raise LdmError(
                f"{steps} {sampler} steps: a GAN makes a volume in one pass; leave them out"
            )
        if len(covariates) != len(noise_keys) or not covariates:
            raise LdmError(f"{len(covariates)} covariate rows for {len(noise_keys)} noise keys")
        for row in covariates:
            self.schema.validate(row)
        size = (1, self.generator.config.latent)
        latents = (noise.normal(size, noise.LATENT, *key) for key in noise_keys)
        volumes = (self._volume(torch.from_numpy(latent)) for latent in latents)
        return on_host(volumes, len(noise_keys), self.grid.shape)

    def _volume(self, latent: Tensor) -> Tensor:
        with autocast(self.device, self._dtype):
            volume: Tensor = self.generator(latent.to(self.device))
        return volume[0, 0].float()

    @completed
    def sample(self, *, seed: int = 0, **covariates: Any) -> nib.Nifti1Image:
        """One volume as a nibabel image, intensities 0..1, RAS, in the grid's space.

        Raises:
            LdmError: a covariate: the model has none.
        """
        with few_threads(self):
            return to_image(self.generate([covariates], [(seed,)])[0], self.grid)


def load_gan(
    source: str | Path, description: ModelDescription, *, device: str, precision: str
) -> GanModel:
    """The GAN at `source`, its weights checked against their digest.

    Raises:
        LdmError: a file of it is missing or damaged, or its parts do not fit together.
    """
    with reading(source):
        config = GeneratorConfig.from_json(description.generator)
        if config.shape != description.grid.shape or len(description.schema):
            raise LdmError("generator, grid and covariates do not fit together")
    data = verified(source, GENERATOR, description.files)
    generator = build(lambda: Generator(config), len(data), f"{source}: {GENERATOR}")
    load_weights(generator, data, f"{source}: {GENERATOR}")
    return GanModel(description, generator, device=device, precision=precision)


def save_gan(
    folder: Path,
    description: ModelDescription,
    generator: Generator,
    *,
    dtype: torch.dtype = torch.float16,
) -> ModelDescription:
    """Write a model folder whole; weights are kept as `dtype`."""
    return write(folder, description, {GENERATOR: weight_bytes(generator, dtype)})
