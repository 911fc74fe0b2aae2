"""`--from`: the weights that a run begins with, from an earlier run or from a model."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ldm.diffusion.schedule import Schedule
from ldm.models.description import CONFIG
from ldm.networks import AutoencoderConfig, Denoiser, DenoiserConfig, RefinerConfig
from ldm.networks.autoencoder import without_refiner
from ldm.networks.denoiser import with_inputs
from ldm.networks.weights import load_weights, weight_bytes
from ldm.volumes.grid import Grid
from ray_jobs.encoding import autoencoder_folder
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError
from ray_jobs.files import write_bytes
from ray_jobs.training.starting.carrying import Carried, carry
from ray_jobs.work_folder import WorkFolder

if TYPE_CHECKING:
    from ldm.models.latent_diffusion import Model

FILE = "from.safetensors"
# What a U-Net was told of its covariates, which is no part of its weights.
_CONDITIONS = ("conditions", "condition_mean", "condition_std", "null_condition")
_BRANCH = ("branch_channels", "branch_blocks")


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights to begin with.

    Attributes:
        name: what they were called.
        data: safetensors, float32.
        notes: in words, what the run differs in from what they were trained on.
        parts: which covariates begin "anew" and which are "left", if any.
    """

    name: str
    data: bytes
    notes: tuple[str, ...] = ()
    parts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def told(self) -> dict[str, Any]:
        """For the card and the run's identity."""
        return {"name": self.name, "sha256": self.sha256, **self.parts}

    def tell(self) -> None:
        """A line for each of the notes."""
        for note in self.notes:
            print(f"--from {self.name}: {note}", file=sys.stderr)

    def put(self, out: WorkFolder) -> None:
        """Leave the weights in the run's folder, where every worker finds them."""
        write_bytes(out.path / FILE, self.data)
        out.put(FILE)


def begin(network: nn.Module, out: WorkFolder, started: bool) -> None:
    """Load the weights that `Start.put` left, if the run began with any."""
    if started:
        load_weights(network, out.fetch(FILE).read_bytes(), out / FILE)


def autoencoder_start(source: str, wanted: AutoencoderConfig) -> Start:
    """The autoencoder at `source`: a run of train-autoencoder, latents, or a model.

    Raises:
        JobError, LdmError: none there, damaged, or of another shape than `wanted`.
    """
    if autoencoder_folder.is_run(source):
        network = autoencoder_folder.open_run(source).network()
    else:
        network = without_refiner(_model(source, "train-autoencoder").autoencoder)
    _fits(source, "autoencoder", network.config.to_json(), wanted.to_json())
    return Start(name=_name(source), data=_bytes(network))


def refiner_start(source: str, wanted: RefinerConfig, latent_channels: int) -> Start:
    """The refiner at `source`: of a run of train-decoder, or of a model.

    Raises:
        JobError, LdmError: none there, damaged, or of another shape than `wanted`.
    """
    network = _model(_of_run(source), "train-decoder").autoencoder
    refiner = network.config.refiner
    if not refiner.channels:
        raise JobError(f"--from {source}: a model without a refiner; expected one of train-decoder")
    told = {"latent_channels": network.config.latent_channels, **_trained(refiner)}
    _fits(source, "refiner", told, {"latent_channels": latent_channels, **_trained(wanted)})
    return Start(name=_name(source), data=_bytes(network.refiner))


def denoiser_start(
    source: str, wanted: DenoiserConfig, schedule: Schedule, latents: EncodedCohort
) -> tuple[Start, DenoiserConfig]:
    """The U-Net at `source`, a run of train-diffusion, or a model, and the config under which it
    reads the covariates that it shares with the latents as before.

    The model may be of another grid, contrast or schema: `Start.notes` tell of what differs.

    Raises:
        JobError, LdmError: none there, damaged, of another shape than `wanted`, or trained on
            another schedule.
    """
    model = _model(_of_run(source), "train-diffusion")
    network: Denoiser = model.denoiser
    _fits(source, "U-Net", _shape(network.config), _shape(wanted))
    grown = bool(wanted.branch_channels) and network.branch is None
    if network.branch is not None:
        _fits(source, "branch", _branch(network.config), _branch(wanted))
    trained = replace(model.schedule, truncation=0)  # which is the decoder's, and no training's
    if trained != schedule:
        _fits(source, "schedule", trained.to_json(), schedule.to_json())
    carried = carry(model.schema, network.config, latents.schema, wanted)
    weights = with_inputs(network.state_dict(), network.config, carried.places)
    null = network.config.null_condition
    config = replace(
        wanted,
        condition_mean=tuple(round(m, 6) for m in carried.mean),
        condition_std=tuple(round(s, 6) for s in carried.std),
        null_condition=wanted.null_condition if null is None else null,
    )
    begun = Denoiser(config)
    begun.load_state_dict({**begun.state_dict(), **weights} if grown else weights)
    branch = ("it has no branch: one begins here that adds nothing yet",) if grown else ()
    notes = (*branch, *_covariates_differ(carried), *_source_differs(model, latents))
    anew = {"anew": list(carried.anew)} if carried.anew else {}
    left = {"left": list(carried.left)} if carried.left else {}
    start = Start(name=_name(source), data=_bytes(begun), notes=notes, parts={**anew, **left})
    return start, config


def _covariates_differ(carried: Carried) -> Iterator[str]:
    if carried.anew:
        yield f"new to it: {', '.join(carried.anew)}, whose weights begin at zero"
    if carried.left:
        yield f"left out: {', '.join(carried.left)}, which these latents do not have"
    for name, (before, now) in carried.described.items():
        yield f"{name} was {before!r}, and is {now!r} here: is it the same?"


def _source_differs(model: Model, latents: EncodedCohort) -> Iterator[str]:
    """What else the latents are than those that the model was trained on."""
    encoded = latents.autoencoder
    if not encoded.grid.same_voxels(model.grid):
        yield f"it drew {_voxels(model.grid)}, these latents are of {_voxels(encoded.grid)}"
    drawn = model.description.suffixes
    if latents.suffixes != drawn:
        yield f"it drew {', '.join(drawn)}, these latents are of {', '.join(latents.suffixes)}"
    if not _same_weights(encoded.network(), without_refiner(model.autoencoder)):
        yield (
            "these latents are of another autoencoder than its own: what it knows helps if that "
            "one was trained on from its own, and else little; encode-latents --autoencoder takes "
            "a model too"
        )


def _voxels(grid: Grid) -> str:
    x, y, z = grid.shape
    return f"{x} x {y} x {z} voxels of {grid.spacing:g} mm"


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same weights in the precision of a model's folder."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        first[name].shape == second[name].shape
        and torch.equal(first[name].half(), second[name].half())
        for name in first
    )


def _of_run(source: str) -> str:
    """The model in a run that leaves one; else `source`, which may be one itself."""
    if "://" in source:
        run = WorkFolder.read(source)
        return run / "model" if run.fetch(f"model/{CONFIG}").exists() else source
    model = Path(source).expanduser().absolute() / "model"
    return str(model) if model.is_dir() else source


def model_start(source: str, verb: str) -> Model:
    """The latent diffusion model at `source`, a run of `verb` or a model; float32, on the CPU.

    Raises:
        JobError, LdmError: none there, damaged, or a baseline.
    """
    return _model(_of_run(source), verb)


def _model(source: str, verb: str) -> Model:
    return autoencoder_folder.load_model("--from", source, verb)


def _shape(config: DenoiserConfig) -> dict[str, Any]:
    return {k: v for k, v in config.to_json().items() if k not in (*_CONDITIONS, *_BRANCH)}


def _branch(config: DenoiserConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in _BRANCH}


def _trained(config: RefinerConfig) -> dict[str, Any]:
    """What its weights are of: how many calls it takes is no part of them."""
    return {k: v for k, v in asdict(config).items() if k != "steps"}


def _fits(source: str, what: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = [
        f"{name} {found.get(name)}, the run has {wanted.get(name)}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if differing:
        raise JobError(
            f"--from {source} does not fit: its {what} has {'; '.join(differing)}; "
            "use the preset or options it was trained with"
        )


def _name(source: str) -> str:
    """A path's last folder; "demo" and URIs as they are."""
    path = Path(source).expanduser()
    return path.absolute().name if path.exists() else source


def _bytes(network: nn.Module) -> bytes:
    return weight_bytes(network, torch.float32)
