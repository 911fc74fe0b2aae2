"""`--from`: the weights that a run begins with, from an earlier run or from a model."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ldm.covariates import CovariateSchema
from ldm.diffusion.schedule import Schedule
from ldm.errors import LdmError
from ldm.models.description import CONFIG
from ldm.networks import AutoencoderConfig, Denoiser, DenoiserConfig, RefinerConfig
from ldm.networks.weights import load_weights, weight_bytes
from ray_jobs.encoding import autoencoder_folder
from ray_jobs.errors import JobError
from ray_jobs.files import write_bytes
from ray_jobs.work_folder import WorkFolder

FILE = "from.safetensors"
# What a U-Net was told of its covariates, which is no part of its weights.
_CONDITIONS = ("condition_mean", "condition_std", "null_condition")


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights to begin with.

    Attributes:
        name: what they were called.
        data: safetensors, float32.
        schema, config, schedule: of the model that a U-Net comes from.
    """

    name: str
    data: bytes
    schema: CovariateSchema | None = None
    config: DenoiserConfig | None = None
    schedule: Schedule | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def told(self) -> dict[str, str]:
        """For the card and the run's identity."""
        return {"name": self.name, "sha256": self.sha256}

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
        network = _model(source, "train-autoencoder").autoencoder
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


def denoiser_start(source: str, wanted: DenoiserConfig, schedule: Schedule) -> Start:
    """The U-Net at `source`: a run of train-diffusion, or a model.

    Raises:
        JobError, LdmError: none there, damaged, of another shape than `wanted`, or trained on
            another schedule.
    """
    model = _model(_of_run(source), "train-diffusion")
    network: Denoiser = model.denoiser
    _fits(source, "U-Net", _shape(network.config), _shape(wanted))
    trained = replace(model.schedule, truncation=0)  # which is the decoder's, and no training's
    if trained != schedule:
        _fits(source, "schedule", trained.to_json(), schedule.to_json())
    return Start(
        name=_name(source),
        data=_bytes(network),
        schema=model.schema,
        config=network.config,
        schedule=trained,
    )


def _of_run(source: str) -> str:
    """The model in a run that leaves one; else `source`, which may be one itself."""
    if "://" in source:
        run = WorkFolder.read(source)
        return run / "model" if run.fetch(f"model/{CONFIG}").exists() else source
    model = Path(source).expanduser().absolute() / "model"
    return str(model) if model.is_dir() else source


def carried_conditions(
    base: CovariateSchema, config: DenoiserConfig, schema: CovariateSchema
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and deviation of the conditions under which the network reads a value in physical
    units as it did before, though `schema` scales it by another range.

    s = (x - min) / (max - min) and the network reads (s - mean) / std.

    Raises:
        JobError: other covariates, or in another order.
    """
    check_same_covariates(base, schema)
    means, stds = [], []
    count = len(base.inputs)
    given = config.condition_mean or (0.0,) * count, config.condition_std or (1.0,) * count
    pairs = [
        pair
        for pair in zip(base.covariates, schema.covariates, strict=True)
        for _ in pair[0].inputs
    ]
    for (old, new), mean, std in zip(pairs, *given, strict=True):
        if old.is_continuous:
            ratio = (old.maximum - old.minimum) / (new.maximum - new.minimum)
            mean = mean * ratio + (old.minimum - new.minimum) / (new.maximum - new.minimum)
            std = std * ratio
        means.append(mean)
        stds.append(std)
    return tuple(means), tuple(stds)


def check_same_covariates(base: CovariateSchema, schema: CovariateSchema) -> None:
    """Refuse latents of other covariates than the model's with schema `base`.

    Raises:
        JobError: other covariates, or in another order.
    """
    kinds = [[(c.name, c.unit, c.levels, c.inputs) for c in s.covariates] for s in (base, schema)]
    if kinds[0] != kinds[1]:
        raise JobError(
            f"--from was trained with covariates {', '.join(base.names)}, the latents have "
            f"{', '.join(schema.names)}; expected the same, in order, of the same units, levels "
            "and coding"
        )


def model_start(source: str, verb: str) -> Any:
    """The latent diffusion model at `source`, a run of `verb` or a model; float32, on the CPU.

    Raises:
        JobError, LdmError: none there, damaged, or a baseline.
    """
    return _model(_of_run(source), verb)


def _model(source: str, verb: str) -> Any:
    from ldm.loading import load
    from ldm.models.latent_diffusion import Model

    try:
        model = load(source, device="cpu", precision="fp32")
    except LdmError as error:
        raise LdmError(
            f"--from {source}: neither a finished run of {verb} nor a model ({error})",
            exit_code=error.exit_code,
        ) from None
    if not isinstance(model, Model):
        raise JobError(f"--from {source}: a baseline has no {verb.removeprefix('train-')} model")
    return model


def _shape(config: DenoiserConfig) -> dict[str, Any]:
    return {k: v for k, v in config.to_json().items() if k not in _CONDITIONS}


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
