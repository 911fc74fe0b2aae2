"""The job of `brainpress train-decoder`: the draws, the fit, then the finished model's folder."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ldm.diffusion.schedule import Schedule
from ldm.loading import describe
from ldm.models.bundle.source import is_bundle
from ldm.models.card import without_privacy
from ldm.models.description import CONFIG, LATENT_DIFFUSION, ModelDescription
from ldm.networks import RefinerConfig
from ldm.training.config import TrainingConfig
from ldm.training.presets import Preset, on_card, preset
from ldm.volumes.grid import Grid
from ray_jobs import ending, forecast
from ray_jobs.command_line import command_line
from ray_jobs.encoding.checks import Checks, fit_checks
from ray_jobs.errors import JobError
from ray_jobs.places import absolute
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training import draws
from ray_jobs.training.fitting.fit import Fitted, fit
from ray_jobs.training.fitting.identity import claim, held, is_finished, mark_finished
from ray_jobs.training.inputs import training_cohort, validation_volumes
from ray_jobs.training.options import Keeping, WorkerGroup, configure
from ray_jobs.training.starting.start import begin, refiner_start
from ray_jobs.work_folder import WorkFolder

MODEL = "model"
RESULT = f"{MODEL}/{CONFIG}"
PREVIEW_VOLUMES = 3  # held-out ones, as they are, without and with fine structure; as many drawn
VALIDATION_VOLUMES = 8  # held-out ones, and as many drawn: their figures by band take seconds each
# Where sampling ends by default, as a share of T: signal and noise of about the same size.
TRUNCATION = 0.25
CHECKED_VOLUMES = 96  # training ones that the quality check is fitted to, at most
SHARP, SHARP_BAND = "drawn_power_0.26_0.30", "0.26 to 0.30 cycles a voxel"


def train_decoder(args: argparse.Namespace) -> int:
    """Train to the end and write `model/`; returns the exit code.

    Raises:
        JobError: see `fit` and `training_cohort`; a model of another kind or grid, subjects who
            lack a covariate, or too few draws.
        LdmError: a model that cannot be read, or a time step that it does not have.
    """
    chosen = preset(args.preset)
    config = configure(chosen.train_decoder, args)
    if not chosen.refiner.channels:
        raise JobError(
            f"preset {args.preset} has no refiner, which train-decoder trains: give its file "
            'refiner.channels, such as [64, 128, 160] ("brainpress preset demo" shows one)'
        )
    described = _latent_diffusion(args.model, chosen.grid, args.preset)
    cohort = training_cohort(args.cohort, chosen.grid, args.preset)
    _check_covariates(cohort, described)
    schedule = Schedule.from_json(described.schedule)
    steps, usual = schedule.steps, schedule.truncation or round(TRUNCATION * schedule.steps)
    truncation = usual if args.truncation is None else args.truncation
    if not 0 < truncation < steps:
        raise JobError(f"--truncation {truncation}: expected a time step of 1 to {steps - 1}")
    finished = draws.truncated(described, truncation)
    channels = described.autoencoder["latent_channels"]
    start = refiner_start(args.start, chosen.refiner, channels) if args.start else None
    keeping, group = Keeping.of(args), WorkerGroup.of(args)
    if args.dry_run:
        from ldm.training.forecast.stages import decoder

        count = len(cohort.split("train"))
        return forecast.tell("refiner", decoder, chosen, config, args, count)
    identity = {
        "kind": "decoder",
        "cohort": cohort.fingerprint,
        "model": described.fingerprint,
        "sampling": described.sampling.to_json(),
        "truncation": truncation,
        "refiner": asdict(chosen.refiner),
        "training": config.identity(),
        **({"from": start.told()} if start else {}),
    }
    about = {"name": args.name or described.name}
    out, begun = claim(args.out, identity)
    with held(out) as lease:
        if is_finished(out, RESULT, config.steps, about, keeping.take):
            made = f"{out}: already trained for {config.steps} steps; nothing left to do"
            print(ending.model_trained(made, args.out))
            return 0
        if start:
            start.put(out)
        held_out = min(len(cohort.split("validation")), VALIDATION_VOLUMES)
        model = absolute(args.model)
        draws.provide(model, truncation, held_out, config.seed, out, group)
        spec = {
            "cohort": cohort.where,
            "preset": chosen.to_json(),
            "config": config.to_json(),
            "model": model,
            "truncation": truncation,
            "started": start is not None,
        }
        fitted = fit(worker, spec, begun, out, group, keeping, lease)
        told_from = {"from": start.told()} if start else {}
        training = {**on_card(chosen), **_training(args, cohort, config, fitted), **told_from}
        written = _write(out, args, finished, cohort, chosen.refiner, fitted.weights, training)
        out.put_folder(MODEL, last=CONFIG)
        mark_finished(out, fitted.reached, about, keeping.take)
        size = sum(entry["bytes"] for entry in written.files.values()) / 1e6
        last = fitted.history[-1]
        made = (
            f"{out / MODEL}: {fitted.step} steps; volumes that it draws have "
            f"{last[SHARP]:.0%} of people's power at {SHARP_BAND}, {size:.1f} MB"
        )
        print(ending.model_trained(made, args.out))
        return 0


def _latent_diffusion(source: str, grid: Grid, name: str) -> ModelDescription:
    described = describe(source)
    if is_bundle(source) or described.kind != LATENT_DIFFUSION:
        raise JobError(
            f"--model {source}: expected a latent diffusion model in a folder of brainpress's own"
        )
    if not described.grid.same_voxels(grid):
        raise JobError(
            f"--model {source} makes volumes of {described.grid.shape}, "
            f"{described.grid.spacing:g} mm; preset {name} has {grid.shape}, {grid.spacing:g} mm. "
            "Give the preset it was trained with"
        )
    return described


def _check_covariates(cohort: PreparedCohort, described: ModelDescription) -> None:
    names = list(described.schema.names)
    lacking = [name for name in names if name not in cohort.table.columns]
    if lacking:
        raise JobError(
            f"{cohort.where} has no {', '.join(lacking)}, which the model is told; prepare it "
            "with the covariates that the model was trained with"
        )
    rows = int(cohort.table[names].isna().any(axis=1).sum())
    if rows:
        raise JobError(
            f"{rows} subjects of {cohort.where} lack a covariate; prepare with --missing "
            "drop-subject"
        )


def told(cohort: PreparedCohort, described: ModelDescription, split: str) -> np.ndarray:
    """What the denoiser is told of the subjects of a split, (N, K) float32."""
    schema, table = described.schema, cohort.split(split)
    rows = [{name: row[name] for name in schema.names} for _, row in table.iterrows()]
    known = [described.calibration.conditions(schema, row) for row in rows]
    return np.asarray(known, dtype=np.float32).reshape(len(rows), len(schema.inputs))


def _write(
    out: WorkFolder,
    args: argparse.Namespace,
    described: ModelDescription,
    cohort: PreparedCohort,
    refiner: RefinerConfig,
    average: dict[str, Any],
    training: dict[str, Any],
) -> ModelDescription:
    """The model with its new decoder, and what its quality check accepts of that one's volumes."""
    from ldm.loading import load
    from ldm.models.latent_diffusion import Model, save
    from ldm.networks.autoencoder import with_refiner

    model = load(args.model, device="cpu", precision="fp32")
    assert isinstance(model, Model)
    autoencoder = with_refiner(model.autoencoder, refiner, average)
    before = described.card.get("training", {})
    commands = [*before.get("commands", []), command_line("train-decoder", args)]
    name = args.name or described.name
    card = {**without_privacy(described.card, "train-decoder"), "name": name}
    card["training"] = {**before, "commands": commands, "decoder": training}
    checks = decoded_checks(cohort, described, model, autoencoder)
    whole = replace(
        described,
        name=name,
        card=card,
        autoencoder=autoencoder.config.to_json(),
        bounds=checks.bounds,
        brain_size=checks.brain_size,
        bounds_of=checks.bounds_of,
    )
    return save(out.path / MODEL, whole, autoencoder, model.denoiser)


def decoded_checks(
    cohort: PreparedCohort, described: ModelDescription, model: Any, autoencoder: Any
) -> Checks:
    """What a model's quality check accepts, fitted to training volumes that its refiner finished.

    Args:
        described: with the time step of truncation.
        model: its autoencoder before the refiner, and its denoiser.
        autoencoder: with the refiner.
    """
    import torch

    from ldm.networks.precision import PRECISIONS, autocast, resolve
    from ldm.training.decoder import Denoised, fixed, refined
    from ldm.volumes.conversion import quantise, read_volume
    from ldm.volumes.quality import measure

    subjects = cohort.split("train")[:CHECKED_VOLUMES]
    paths = cohort.volumes("train")[:CHECKED_VOLUMES]
    conditions = told(cohort, described, "train")
    denoised = Denoised.of(model, Schedule.from_json(described.schedule))
    figures = []
    for place, path in enumerate(paths):
        volume, cpu = read_volume(path), torch.device("cpu")
        with autocast("cpu", PRECISIONS[resolve("auto", "cpu")]):
            _, blurred = fixed(volume, conditions[place], denoised, place, cpu)
            found = refined(autoencoder.refiner, blurred, autoencoder.config.refiner.steps, place)
        figures.append(measure(quantise(found[0, 0].numpy())))
    return fit_checks(figures, subjects, cohort.schema, cohort.suffixes)


def _training(
    args: argparse.Namespace, cohort: PreparedCohort, config: TrainingConfig, fitted: Fitted
) -> dict[str, Any]:
    """The card's account of this stage."""
    return {
        "cohort": {k: v for k, v in cohort.source.items() if k != "command"},
        "subjects": len(cohort.split("train")),
        "held_out": len(cohort.split("validation")),
        "steps": fitted.step,
        "config": config.to_json(),
        "history": fitted.history,
    }


def worker(spec: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import ray.train.torch
    import torch
    from torch import nn

    from ldm.loading import load
    from ldm.models.latent_diffusion import Model
    from ldm.networks.refiner import Refiner
    from ldm.training.decoder import (
        DecoderTask,
        DecoderValidation,
        Denoised,
        fit_bands,
        new_refiner,
        unlikeness,
    )
    from ldm.volumes.previews import mosaic
    from ray_jobs.training.fitting.worker import run_worker

    config = TrainingConfig.from_json(spec["config"])
    cohort = PreparedCohort.open(spec["cohort"])
    model = load(spec["model"], device="cpu", precision="fp32")
    assert isinstance(model, Model)
    described = draws.truncated(model.description, spec["truncation"])
    denoised = Denoised.of(model, Schedule.from_json(described.schedule))
    held_out = validation_volumes(cohort)[:VALIDATION_VOLUMES]
    chosen = Preset.from_json(spec["preset"])
    validation = DecoderValidation(
        held_out,
        told(cohort, described, "validation")[: len(held_out)],
        draws.paths(spec["place"].out, len(held_out)),
        denoised,
        chosen.refiner.steps,
    )

    def preview(average: nn.Module, device: torch.device) -> bytes:
        assert isinstance(average, Refiner)
        pictures, titles = [], []
        for place in range(min(PREVIEW_VOLUMES, len(held_out))):
            found, volume = validation.given_back(average, place, device)
            drawn = validation.finished(average, place, device)
            pictures += [one[0, 0].float().cpu().numpy() for one in (volume, found, drawn)]
            titles += [f"held out {place + 1}", "given back", "drawn"]
        return mosaic(pictures, titles)

    paths, conditions = cohort.volumes("train"), told(cohort, described, "train")
    task = DecoderTask(paths, conditions, denoised, config, described.sampling.guidance)
    torch.manual_seed(config.seed)
    refiner = new_refiner(
        chosen.refiner, model.autoencoder, described.latent_mean, described.latent_std
    )
    begin(refiner, spec["place"].out, spec["started"])
    fit_bands(refiner, paths, conditions, denoised, ray.train.torch.get_device())
    run_worker(
        refiner,
        config,
        task,
        validation,
        preview,
        spec["place"],
        score=unlikeness,
    )
