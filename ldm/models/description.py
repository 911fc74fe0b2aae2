"""What is said of a model without its weights, and the files that say it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from ldm import contrasts
from ldm.contrasts import MODALITY, T1W
from ldm.covariates import CovariateSchema, Row
from ldm.covariates.calibration import Calibration
from ldm.covariates.distribution import CohortDistribution
from ldm.diffusion.config import Sampling
from ldm.errors import LdmError
from ldm.volumes.brain_size import BrainSize
from ldm.volumes.grid import Grid
from ldm.volumes.quality import DEFAULT_BOUNDS, Bounds

FORMAT = "brainpress-model"
VERSION = 1
CONFIG, DISTRIBUTION, CARD = "model.json", "covariates.json", "README.md"
AUTOENCODER, DENOISER = "autoencoder.safetensors", "denoiser.safetensors"
GENERATOR = "generator.safetensors"
LATENT_DIFFUSION, GAN = "latent-diffusion", "gan"
# What a release calls the "sampler" of a model that needs none.
ONE_PASS = "generator"
# What model.json tells of a model of each kind, beside what it tells of all.
OF_KIND = {
    LATENT_DIFFUSION: ("autoencoder", "denoiser", "schedule", "latent_mean", "latent_std"),
    GAN: ("generator",),
}


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """All that is said of a model, without its weights.

    Attributes:
        name: short name, used in releases.
        card: name, description, license, attribution, demo (bool), training (dict), and where it
            was made better step by step, `tries`: what was tried and what was found.
        schema, distribution: the covariates and how the cohort's are distributed.
        grid: where its voxels lie.
        kind: "latent-diffusion" (where the file says nothing) or "gan".
        autoencoder, denoiser, schedule: the configs of `ldm.networks` and
            `ldm.diffusion.schedule`.
        latent_mean, latent_std: per channel; the diffusion model sees (z - mean) / std.
        generator: the config of `ldm.gan.networks.Generator`, of a GAN alone.
        bounds: what `ldm.volumes.quality.check` accepts; of a model of several contrasts where
            a contrast has none of its own.
        bounds_of: the same by contrast, of a model of several.
        suffixes: the contrasts that it draws; of several, the covariate `modality` tells which.
        brain_size: what tells it the size of a brain, of several contrasts in T1w alone; None
            where the cohort does not.
        calibration: what its network is told instead of what is asked.
        sampling: how it is sampled where the user does not say.
        files: sha256 and bytes of every other file of the folder.
    """

    name: str
    card: dict[str, Any]
    schema: CovariateSchema
    distribution: CohortDistribution
    grid: Grid
    kind: str = LATENT_DIFFUSION
    autoencoder: dict[str, Any] = field(default_factory=dict)
    denoiser: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    latent_mean: tuple[float, ...] = ()
    latent_std: tuple[float, ...] = ()
    generator: dict[str, Any] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=lambda: dict(DEFAULT_BOUNDS))
    bounds_of: dict[str, Bounds] = field(default_factory=dict)
    suffixes: tuple[str, ...] = (T1W,)
    brain_size: BrainSize | None = None
    calibration: Calibration = field(default_factory=Calibration)
    sampling: Sampling = field(default_factory=Sampling)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.suffixes) < 2:
            return
        levels = self.schema[MODALITY].levels if MODALITY in self.schema.names else ()
        if set(levels) != set(self.suffixes):
            raise LdmError(
                f"contrasts {', '.join(self.suffixes)}: expected a covariate {MODALITY} with "
                f"these levels, found {', '.join(levels) or 'none'}"
            )

    def suffix_of(self, row: Row) -> str:
        """The contrast of a volume with these covariates."""
        return contrasts.suffix_of(row, self.suffixes)

    @property
    def fingerprint(self) -> str:
        """sha256, hexadecimal, of everything that shapes a sample drawn in a given way; the card
        does not, nor does the way that is usual."""
        document = self.to_json()
        document.pop("card")
        document.pop("sampling", None)
        document["files"].pop(CARD, None)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The document of model.json: the fields of this kind, and no word of the default kind."""
        own = {name: _plain(getattr(self, name)) for name in OF_KIND[self.kind]}
        calibration, sampling = self.calibration.to_json(), self.sampling.to_json()
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "card": self.card,
            "covariates": self.schema.to_json()["covariates"],
            **({} if self.kind == LATENT_DIFFUSION else {"kind": self.kind}),
            "grid": self.grid.to_json(),
            **own,
            "bounds": _pairs(self.bounds),
            **contrasts.to_json(self.suffixes),
            **(
                {"bounds_of": {name: _pairs(own) for name, own in self.bounds_of.items()}}
                if self.bounds_of
                else {}
            ),
            **({"brain_size": self.brain_size.to_json()} if self.brain_size else {}),
            **({"calibration": calibration} if calibration else {}),
            **({"sampling": sampling} if sampling else {}),
            "files": dict(self.files),
        }


def _pairs(bounds: Bounds) -> dict[str, list[float]]:
    return {name: [float(x) for x in pair] for name, pair in bounds.items()}


def _plain(value: Any) -> Any:
    """A field as JSON has it."""
    return [float(x) for x in value] if isinstance(value, tuple) else value
