"""Latents that a model draws by itself, for the training of its decoder: Ray Data over numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ldm import noise
from ldm.diffusion.schedule import Schedule
from ldm.errors import LdmError
from ldm.models.description import ModelDescription
from ray_jobs import cluster
from ray_jobs.files import write_array
from ray_jobs.progress import watched
from ray_jobs.setup import set_up
from ray_jobs.training.options import WorkerGroup
from ray_jobs.work_folder import WorkFolder

FOLDER = "draws"
# Latents that a worker draws at once.
BATCH = 8


def truncated(description: ModelDescription, truncation: int) -> ModelDescription:
    """The model as it is drawn from when sampling ends at that time step.

    Raises:
        LdmError: no such time step.
    """
    schedule = replace(Schedule.from_json(description.schedule), truncation=truncation)
    return replace(description, schedule=schedule.to_json())


def keys(count: int) -> list[str]:
    """What `count` of them are called in the run's folder."""
    return [f"{FOLDER}/{number:06d}.npy" for number in range(count)]


def paths(out: WorkFolder, count: int) -> list[Path]:
    """`count` of them, as files of this machine."""
    return out.fetch_all(keys(count))


def provide(
    model: str, truncation: int, count: int, seed: int, out: WorkFolder, group: WorkerGroup
) -> None:
    """Draw those that are not there yet.

    Args:
        model: as `--model` takes it.
        count: of how many.
        seed: of their covariates and noise.
        out: the run's folder.

    Raises:
        JobError: the drawing failed.
    """
    (out.path / FOLDER).mkdir(exist_ok=True)
    missing = [number for number, path in enumerate(paths(out, count)) if not _whole(path)]
    if not missing:
        return
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    with (
        cluster.session() as found,
        cluster.failures_told("drawing latents"),
        set_up(out.where, found) as setup,
    ):
        import ray.data

        cluster.quiet_ray_data()
        workers = min(int(found.gpus) if group.gpu else found.cpus, len(batches))
        drawer: Any = setup.actor(Drawer)
        items = [{"numbers": numbers} for numbers in batches]
        dataset = ray.data.from_items(items, override_num_blocks=len(items)).map(
            drawer,
            fn_constructor_args=(model, truncation, seed, out, group.gpu),
            compute=ray.data.ActorPoolStrategy(size=max(1, workers)),
            num_cpus=1,
            num_gpus=1 if group.gpu else 0,
        )
        rows = watched(
            dataset.iter_rows(), count, "drawing latents", already=count - len(missing), of="drawn"
        )
        for _ in rows:
            pass


class Drawer:
    """Draws a batch of latents a call and writes each; Ray Data keeps one in each of its actors."""

    def __init__(self, model: str, truncation: int, seed: int, out: WorkFolder, gpu: bool) -> None:
        import torch

        from ldm.loading import load
        from ldm.models.latent_diffusion import Model

        if not gpu:
            torch.set_num_threads(1)
        loaded = load(model, device="cuda" if gpu else "cpu")
        assert isinstance(loaded, Model)
        loaded.schedule = Schedule.from_json(truncated(loaded.description, truncation).schedule)
        self._model, self._seed, self._out = loaded, seed, out

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        numbers = [int(number) for number in row["numbers"]]
        rows = [
            self._model.distribution.sample(noise.generator(noise.COVARIATES, self._seed, number))
            for number in numbers
        ]
        latents = self._model.sample_latents(rows, [(self._seed, number) for number in numbers])
        if not bool(latents.isfinite().all()):
            raise LdmError("a drawn latent is not finite; the model cannot be drawn from")
        (self._out.path / FOLDER).mkdir(parents=True, exist_ok=True)
        names = keys(max(numbers) + 1)
        for number, latent in zip(numbers, latents.cpu().numpy(), strict=True):
            write_array(self._out.path / names[number], latent)
            self._out.put(names[number])
        return {"drawn": len(numbers)}


def _whole(path: Path) -> bool:
    try:
        np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return True
