"""What every loaded model offers, of whatever kind: who it is, and volumes from noise keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np

from ldm.covariates import CovariateSchema, Row
from ldm.covariates.distribution import CohortDistribution
from ldm.models.description import ModelDescription
from ldm.models.notebook import Covariates, as_html, as_text
from ldm.volumes.grid import Grid


class LoadedModel(ABC):
    """A model ready to sample; see `ldm.loading.load`.

    Attributes:
        description: what its folder says of it.
        device, precision: what it computes on, and in ("bf16" or "fp32").
    """

    def __init__(self, description: ModelDescription, *, device: str, precision: str) -> None:
        self.description = description
        self.device = device
        self.precision = precision

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def card(self) -> dict[str, Any]:
        return self.description.card

    @property
    def schema(self) -> CovariateSchema:
        """The covariates it takes; none, where it is unconditional."""
        return self.description.schema

    @property
    def covariates(self) -> Covariates:
        """The same, by name: `model.covariates.age`."""
        return Covariates(self.schema)

    @property
    def distribution(self) -> CohortDistribution:
        return self.description.distribution

    @property
    def grid(self) -> Grid:
        return self.description.grid

    @property
    def fingerprint(self) -> str:
        return self.description.fingerprint

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    @abstractmethod
    def generate(
        self,
        covariates: Sequence[Row],
        noise_keys: Sequence[tuple[int, ...]],
        *,
        steps: int | None = ...,
        sampler: str | None = ...,
        eta: float | None = ...,
        guidance: float | None = ...,
    ) -> np.ndarray:
        """Volumes (B, X, Y, Z) uint16, 0..4095; `ldm.volumes.conversion.NOT_FINITE` marks NaN.

        Args:
            covariates: B complete rows in physical units.
            noise_keys: B integer tuples; all noise of a sample is a function of its own.
            steps, sampler, eta, guidance: how to denoise, as in
                `ldm.diffusion.config.Sampling`; of a model that does not, one step of
                "generator"; None takes the model's own.
        """

    @abstractmethod
    def sample(self, *, seed: int = 0, **options: Any) -> nib.Nifti1Image:
        """One volume as a nibabel image, intensities 0..1, RAS, in the grid's space."""
