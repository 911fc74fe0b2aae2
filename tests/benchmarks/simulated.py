"""A simulated GPU: a model that sleeps where a real one computes, with real volumes, no torch.

Its folder says, in its card, how long a volume takes; the job finds it as any other model and is
told where to load it from (`Options.loader`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ldm import noise
from ldm.covariates import PAPER_SCHEMA, Row
from ldm.covariates.distribution import CohortDistribution
from ldm.loading import describe
from ldm.models.base import LoadedModel
from ldm.models.description import ModelDescription
from ldm.models.folder import write
from ldm.volumes.conversion import LEVELS, to_image
from ldm.volumes.grid import Grid

LOADER = "tests.benchmarks.simulated:load"
# Where each process notes when it was ready and when it drew; nothing is noted where it is unset.
NOTES = "BRAINPRESS_SIMULATED_NOTES"


class SimulatedModel(LoadedModel):
    """Sleeps `card["seconds_per_volume"]` for each volume of a batch; grain within a ball."""

    def __init__(self, description: ModelDescription, *, device: str, precision: str) -> None:
        super().__init__(description, device=device, precision=precision)
        self.seconds = float(description.card["seconds_per_volume"])
        sides = [np.linspace(-1, 1, side) for side in self.grid.shape]
        x, y, z = np.meshgrid(*sides, indexing="ij", sparse=True)
        grain = noise.generator(noise.LATENT, 0).random(self.grid.shape, dtype=np.float32)
        self._head = x**2 + y**2 + z**2 < 0.8
        self._levels = (0.6 * LEVELS * (0.8 + 0.4 * grain)).astype(np.uint16)
        self._notes = _Notes()
        self._notes.add("ready", time.time(), time.time())

    def generate(
        self,
        covariates: Sequence[Row],
        noise_keys: Sequence[tuple[int, ...]],
        *,
        steps: int | None = None,
        sampler: str = "ddim",
        eta: float = 0.0,
        guidance: float = 1.0,
    ) -> np.ndarray:
        begun = time.time()
        volumes = np.stack([self._volume(key) for key in noise_keys])
        time.sleep(max(0.0, self.seconds * len(noise_keys) - (time.time() - begun)))
        self._notes.add("draw", begun, time.time())
        return volumes

    def sample(self, *, seed: int = 0, **options: Any) -> nib.Nifti1Image:
        return to_image(self._volume((seed, 0, 0)), self.grid)

    def _volume(self, key: tuple[int, ...]) -> np.ndarray:
        """(X, Y, Z) uint16, a function of the key, and cheap: a GPU needs no core for it."""
        shift = int(noise.generator(noise.LATENT, *key).integers(self._levels.size))
        return np.where(self._head, np.roll(self._levels, shift), 0).astype(np.uint16)


def load(source: str, *, device: str = "cpu", precision: str = "bf16") -> SimulatedModel:
    """As `ldm.loading.load`."""
    return SimulatedModel(describe(source), device=device, precision=precision)


def write_model(
    folder: Path, *, seconds_per_volume: float, shape: tuple[int, int, int] = (16, 16, 16)
) -> Path:
    """A folder that describes a simulated model; its covariates are the paper's."""
    rng = np.random.default_rng(0)
    age = rng.uniform(45, 80, 500)
    cohort = {
        "sex": rng.choice(["F", "M"], 500),
        "age": age,
        "ventricular_volume": 10_000 + 800 * (age - 45) + rng.normal(0, 2_000, 500),
        "brain_volume": 1_600_000 - 3_000 * age + rng.normal(0, 40_000, 500),
    }
    card = {
        "name": "simulated",
        "description": "sleeps where a model computes",
        "license": "CC0-1.0",
        "seconds_per_volume": seconds_per_volume,
    }
    description = ModelDescription(
        name="simulated",
        card=card,
        schema=PAPER_SCHEMA,
        distribution=CohortDistribution.fit(PAPER_SCHEMA, cohort),
        grid=Grid(shape=shape, spacing=10.0),
        autoencoder={"kind": "simulated"},
        denoiser={"kind": "simulated"},
        schedule={"steps": 1000},
        latent_mean=(0.0,),
        latent_std=(1.0,),
    )
    write(folder, description, {})
    return folder


class _Notes:
    """One line an event: what, pid, from and to (seconds since 1970)."""

    def __init__(self) -> None:
        folder = os.environ.get(NOTES)
        self._path = Path(folder, f"{os.getpid()}.txt") if folder else None

    def add(self, what: str, begun: float, ended: float) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(f"{what} {os.getpid()} {begun:.6f} {ended:.6f}\n")
