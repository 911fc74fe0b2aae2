"""A trained autoencoder on disk: `autoencoder/` with its config, weights and history."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ldm.folders import replace_folder, side_folder
from ldm.networks import Autoencoder, AutoencoderConfig
from ldm.networks.weights import load_weights, weight_bytes
from ldm.volumes.grid import Grid
from ray_jobs.errors import JobError
from ray_jobs.files import read_json, write_json
from ray_jobs.work_folder import WorkFolder

FOLDER, CONFIG, WEIGHTS = "autoencoder", "autoencoder.json", "autoencoder.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainedAutoencoder:
    """The averaged weights of a finished run and what they were trained on."""

    config: AutoencoderConfig
    grid: Grid
    sha256: str
    training: dict[str, Any]
    folder: Path

    def network(self) -> Autoencoder:
        """The network with its weights, float32, in evaluation mode."""
        network = Autoencoder(self.config)
        load_weights(network, (self.folder / WEIGHTS).read_bytes(), str(self.folder / WEIGHTS))
        return network.eval().requires_grad_(False)


def write(run: Path, network: Autoencoder, grid: Grid, training: dict[str, Any]) -> None:
    """Write `run/autoencoder/` whole, replacing one that is there."""
    data = weight_bytes(network, torch.float32)
    side = side_folder(run / FOLDER)
    (side / WEIGHTS).write_bytes(data)
    write_json(
        side / CONFIG,
        {
            "format": "brainpress-autoencoder",
            "version": 1,
            "config": network.config.to_json(),
            "grid": grid.to_json(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "training": training,
        },
    )
    replace_folder(side, run / FOLDER)


def is_run(source: str) -> bool:
    """Whether a folder or an address is of a finished run of train-autoencoder, or of latents."""
    return WorkFolder.read(source).fetch(f"{FOLDER}/{CONFIG}").exists()


def open_run(source: str | Path | WorkFolder) -> TrainedAutoencoder:
    """The autoencoder that a run of train-autoencoder left, in a folder or a bucket.

    Raises:
        JobError: the run is not finished or its weights are damaged.
        ReleaseError: the bucket refuses or is away.
    """
    run = source if isinstance(source, WorkFolder) else WorkFolder.read(str(source))
    folder = run.path / FOLDER
    for name in (CONFIG, WEIGHTS):
        run.fetch(f"{FOLDER}/{name}", anew=True)
    document = read_json(folder / CONFIG)
    if document is None or document.get("format") != "brainpress-autoencoder":
        raise JobError(
            f"{run} holds no trained autoencoder (no {FOLDER}/{CONFIG}); "
            "run brainpress train-autoencoder --out to it until it ends"
        )
    try:
        found = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise JobError(f"{folder / WEIGHTS} is missing; run train-autoencoder again") from None
    if found != document["sha256"]:
        raise JobError(f"{folder / WEIGHTS} is damaged; run train-autoencoder again")
    return TrainedAutoencoder(
        config=AutoencoderConfig.from_json(document["config"]),
        grid=Grid.from_json(document["grid"]),
        sha256=document["sha256"],
        training=document["training"],
        folder=folder,
    )
