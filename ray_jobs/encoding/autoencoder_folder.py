"""A trained autoencoder: `autoencoder/` of a run, with its config, weights and history, or that of
a model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ldm.errors import LdmError
from ldm.folders import replace_folder, side_folder
from ldm.models.description import CONFIG as MODEL
from ldm.networks import Autoencoder, AutoencoderConfig
from ldm.networks.autoencoder import without_refiner
from ldm.networks.weights import load_weights, weight_bytes
from ldm.volumes.grid import Grid
from ray_jobs.errors import JobError
from ray_jobs.files import read_json, write_json
from ray_jobs.work_folder import WorkFolder

if TYPE_CHECKING:
    from ldm.models.latent_diffusion import Model

FOLDER, CONFIG, WEIGHTS = "autoencoder", "autoencoder.json", "autoencoder.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainedAutoencoder:
    """The averaged weights of a finished run, or a model's, and what they were trained on.

    Attributes:
        sha256: of `weights`, a safetensors file in float32.
        where: for messages.
    """

    config: AutoencoderConfig
    grid: Grid
    sha256: str
    training: dict[str, Any]
    weights: bytes
    where: str

    def network(self) -> Autoencoder:
        """The network with its weights, float32, in evaluation mode."""
        network = Autoencoder(self.config)
        load_weights(network, self.weights, self.where)
        return network.eval().requires_grad_(False)

    def write(self, run: Path) -> None:
        """Write `run/autoencoder/` whole, replacing one that is there."""
        side = side_folder(run / FOLDER)
        (side / WEIGHTS).write_bytes(self.weights)
        write_json(
            side / CONFIG,
            {
                "format": "brainpress-autoencoder",
                "version": 1,
                "config": self.config.to_json(),
                "grid": self.grid.to_json(),
                "sha256": self.sha256,
                "training": self.training,
            },
        )
        replace_folder(side, run / FOLDER)


def trained(
    network: Autoencoder, grid: Grid, training: dict[str, Any], where: str
) -> TrainedAutoencoder:
    """A network that was just trained, or loaded; without its refiner if it has one, for latents
    are what stands before that."""
    alone = without_refiner(network)
    data = weight_bytes(alone, torch.float32)
    return TrainedAutoencoder(
        config=alone.config,
        grid=grid,
        sha256=hashlib.sha256(data).hexdigest(),
        training=training,
        weights=data,
        where=where,
    )


def open_autoencoder(source: str) -> TrainedAutoencoder:
    """The autoencoder at `source`: a run of train-autoencoder, latents, or a model.

    Raises:
        JobError, LdmError: none there, damaged, or of a baseline.
    """
    if is_run(source) or _is_other_folder(source):
        return open_run(source)
    model = load_model("--autoencoder", source, "train-autoencoder")
    described = model.description
    told = described.card.get("training", {}).get("autoencoder", {})
    return trained(model.autoencoder, model.grid, {"model": described.name, **told}, source)


def load_model(option: str, source: str, verb: str) -> Model:
    """The latent diffusion model at `source`, float32, on the CPU.

    Args:
        option: that names it, for messages.
        verb: whose finished run might stand there instead.

    Raises:
        JobError, LdmError: none there, damaged, or a baseline.
    """
    from ldm.loading import load
    from ldm.models.latent_diffusion import Model

    try:
        model = load(source, device="cpu", precision="fp32")
    except LdmError as error:
        raise LdmError(
            f"{option} {source}: neither a finished run of {verb} nor a model ({error})",
            exit_code=error.exit_code,
        ) from None
    if not isinstance(model, Model):
        raise JobError(f"{option} {source}: a baseline has no {verb.removeprefix('train-')} model")
    return model


def _is_other_folder(source: str) -> bool:
    """Whether it is a folder of this machine with no model in it, such as an unfinished run."""
    folder = Path(source).expanduser()
    return folder.is_dir() and not (folder / MODEL).exists()


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
        weights = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError:
        raise JobError(f"{folder / WEIGHTS} is missing; run train-autoencoder again") from None
    if hashlib.sha256(weights).hexdigest() != document["sha256"]:
        raise JobError(f"{folder / WEIGHTS} is damaged; run train-autoencoder again")
    return TrainedAutoencoder(
        config=AutoencoderConfig.from_json(document["config"]),
        grid=Grid.from_json(document["grid"]),
        sha256=document["sha256"],
        training=document["training"],
        weights=weights,
        where=str(folder / WEIGHTS),
    )
