"""The job of `brainpress train-diffusion`: the fit, then the finished model's folder."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from typing import Any

import numpy as np

from ldm.models.description import CONFIG, ModelDescription
from ldm.networks import DenoiserConfig
from ldm.training.config import TrainingConfig
from ldm.training.presets import Preset, on_card, preset
from ray_jobs import ending, forecast
from ray_jobs.command_line import command_line
from ray_jobs.encoding.autoencoder_folder import TrainedAutoencoder
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError
from ray_jobs.training.conditions import (
    check_missing,
    cohort_distribution,
    conditions,
    tell_distribution,
)
from ray_jobs.training.fitting.fit import Fitted, fit
from ray_jobs.training.fitting.identity import claim, held, is_finished, mark_finished
from ray_jobs.training.options import Keeping, WorkerGroup, about_model, configure
from ray_jobs.training.previews import preview_covariate, preview_rows, rising_preview
from ray_jobs.training.starting.start import begin, denoiser_start

MODEL = "model"
ALL, BRANCH = PARTS = ("all", "branch")  # of the network, that are trained
RESULT = f"{MODEL}/{CONFIG}"
# Held-out subjects that validation reads at most.
VALIDATION_SUBJECTS = 64


def train_diffusion(args: argparse.Namespace) -> int:
    """Train to the end and write `model/`; returns the exit code.

    Raises:
        JobError: see `fit` and `denoiser_start`; or latents that do not fit the preset, or an
            unknown covariate.
    """
    chosen = with_prediction(preset(args.preset), args.prediction)
    config = configure(chosen.train_diffusion, args)
    latents = EncodedCohort.open(args.latents)
    trained = latents.autoencoder
    _check_autoencoder(args, chosen, trained)
    rising = preview_covariate(latents.schema, args.preview)
    check_missing(latents, config)
    keeping, group = Keeping.of(args), WorkerGroup.of(args)
    network = denoiser_config(chosen, latents, config)
    start = None
    if args.start:
        start, network = denoiser_start(args.start, network, chosen.schedule, latents)
    _check_part(args, network)
    if args.dry_run:
        from ldm.training.forecast.stages import diffusion

        own, count = replace(chosen, denoiser=network), len(latents.split("train"))
        return forecast.tell("diffusion model", diffusion, own, config, args, count)
    identity = {
        "kind": "diffusion",
        "latents": latents.fingerprint,
        "network": network.to_json(),
        "schedule": chosen.schedule.to_json(),
        "training": config.identity(),
        **({"from": start.told()} if start else {}),
        **({"part": BRANCH} if args.part == BRANCH else {}),
    }
    cohort_distribution(latents)  # a cohort too small for one is told before the training
    about = about_model(args, latents.source)
    out, begun = claim(args.out, identity)
    with held(out) as lease:
        if is_finished(out, RESULT, config.steps, about, keeping.take):
            made = f"{out}: already trained for {config.steps} steps; nothing left to do"
            print(ending.model_trained(made, args.out))
            return 0
        tell_distribution(latents)
        if start:
            start.tell()
            start.put(out)
        spec = {
            "latents": latents.folder.where,
            "preset": chosen.to_json(),
            "config": config.to_json(),
            "network": network.to_json(),
            "started": start is not None,
            "part": args.part,
            "preview": rising,
        }
        fitted = fit(worker, spec, begun, out, group, keeping, lease)
        from ldm.models.latent_diffusion import save
        from ldm.networks import Denoiser

        denoiser = Denoiser(network)
        denoiser.load_state_dict(fitted.weights)
        told = {"from": start.told()} if start else {}
        card = {**about, "training": {**_training(args, chosen, latents, config, fitted), **told}}
        described = save(
            out.path / MODEL,
            describe_model(args.name, card, chosen, network, latents),
            trained.network(),
            denoiser,
        )
        out.put_folder(MODEL, last=CONFIG)
        mark_finished(out, fitted.reached, about, keeping.take)
        size = sum(entry["bytes"] for entry in described.files.values()) / 1e6
        made = (
            f"{out / MODEL}: {fitted.step} steps, validation loss "
            f"{fitted.history[-1]['loss']:.4f}, {size:.1f} MB"
        )
        print(ending.model_trained(made, args.out))
        return 0


def _check_autoencoder(
    args: argparse.Namespace, chosen: Preset, trained: TrainedAutoencoder
) -> None:
    found, wanted = trained.config.to_json(), chosen.autoencoder.to_json()
    if not trained.grid.same_voxels(chosen.grid):
        found |= {"grid": trained.grid.to_json()}
        wanted |= {"grid": replace(chosen.grid, space=trained.grid.space).to_json()}
    differing = [
        f"{name} {found.get(name)}, the preset has {wanted.get(name)}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if differing:
        raise JobError(
            f"{args.latents} was encoded by another autoencoder than preset {args.preset}'s: "
            f"{'; '.join(differing)}. Give the preset it was trained with"
        )


def _check_part(args: argparse.Namespace, network: DenoiserConfig) -> None:
    if args.part not in PARTS:
        raise JobError(f"--part {args.part}: expected {' or '.join(PARTS)}")
    if args.part == BRANCH and not (args.start and network.branch_channels):
        lacking = "a preset that has a branch" if args.start else "--from, a model with a U-Net"
        raise JobError(
            f"--part {BRANCH} trains the branch beside a U-Net that stays: give {lacking}"
        )


def with_prediction(chosen: Preset, asked: str | None) -> Preset:
    """The preset, its network trained to say what `--prediction` asks for."""
    if asked is None:
        return chosen
    return replace(chosen, schedule=replace(chosen.schedule, prediction=asked))


def denoiser_config(
    chosen: Preset, latents: EncodedCohort, training: TrainingConfig
) -> DenoiserConfig:
    """The preset's U-Net for this cohort's covariates."""
    config = replace(
        chosen.denoiser,
        conditions=len(latents.schema.inputs),
        null_condition=chosen.null_condition if training.condition_dropout else None,
    )
    if not chosen.standardise_conditions:
        return config
    scaled = conditions(latents, "train").reshape(-1, len(latents.schema.inputs))
    lacking = bool(np.isnan(scaled).any())
    if lacking:  # of each, over those who have it
        mean, std = np.nanmean(scaled, axis=0), np.nanstd(scaled, axis=0)
    else:
        mean, std = scaled.mean(axis=0), scaled.std(axis=0)
    std = np.maximum(std, 1e-3)
    if lacking and config.null_condition is not None:
        # One that is left out alone must not read as the rare value of a lopsided one does.
        least = math.floor(np.nanmin((scaled - mean) / std)) - 1.0
        config = replace(config, null_condition=min(config.null_condition, least))
    return replace(
        config,
        condition_mean=tuple(round(float(m), 4) for m in mean),
        condition_std=tuple(round(float(s), 4) for s in std),
    )


def describe_model(
    name: str,
    card: dict[str, Any],
    chosen: Preset,
    network: DenoiserConfig,
    latents: EncodedCohort,
) -> ModelDescription:
    """What `model.json` will say."""
    return ModelDescription(
        name=name,
        card=card,
        schema=latents.schema,
        distribution=cohort_distribution(latents),
        grid=replace(chosen.grid, space=latents.space),
        autoencoder=chosen.autoencoder.to_json(),
        denoiser=network.to_json(),
        schedule=chosen.schedule.to_json(),
        latent_mean=latents.latent_mean,
        latent_std=latents.latent_std,
        bounds=latents.bounds,
        bounds_of=latents.bounds_of,
        suffixes=latents.suffixes,
        brain_size=latents.brain_size,
    )


def _training(
    args: argparse.Namespace,
    chosen: Preset,
    latents: EncodedCohort,
    config: TrainingConfig,
    fitted: Fitted,
) -> dict[str, Any]:
    """The card's account of the training: commands, data, seeds, losses."""
    autoencoder = latents.autoencoder.training
    commands = (
        latents.source.get("command"),
        autoencoder.get("command"),
        latents.command,
        command_line("train-diffusion", args),
    )
    return {
        "cohort": {k: v for k, v in latents.source.items() if k != "command"},
        "subjects": len(latents.split("train")),
        "held_out": len(latents.split("validation")),
        **on_card(chosen),
        "commands": [command for command in commands if command],
        "autoencoder": {k: v for k, v in autoencoder.items() if k not in ("command", "cohort")},
        "diffusion": {
            "steps": fitted.step,
            "config": config.to_json(),
            "history": fitted.history,
        },
    }


def worker(spec: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import torch
    from torch import nn

    from ldm.models.latent_diffusion import Model
    from ldm.networks import Denoiser
    from ldm.training.diffusion import DiffusionTask
    from ray_jobs.training.fitting.worker import run_worker

    chosen = Preset.from_json(spec["preset"])
    config = TrainingConfig.from_json(spec["config"])
    latents = EncodedCohort.open(spec["latents"])
    network = DenoiserConfig.from_json(spec["network"])

    def task(split: str) -> DiffusionTask:
        return DiffusionTask(
            latents.paths(split),
            conditions(latents, split),
            latents.latent_mean,
            latents.latent_std,
            chosen.schedule,
            config,
        )

    held_out = task("validation")
    description = describe_model("preview", {}, chosen, network, latents)
    rows = preview_rows(description.distribution, latents.schema, spec["preview"])

    def check(average: nn.Module, rank: int, world: int, device: torch.device) -> dict[str, float]:
        subjects = range(rank, min(held_out.count, VALIDATION_SUBJECTS), world)
        return held_out.validate(average, subjects, device)

    def preview(average: nn.Module, device: torch.device) -> bytes:
        denoiser = Denoiser(network)
        denoiser.load_state_dict(average.state_dict())
        model = Model(description, latents.autoencoder.network(), denoiser, device=str(device))
        return rising_preview(model, rows, spec["preview"])

    torch.manual_seed(config.seed)
    denoiser = Denoiser(network)
    begin(denoiser, spec["place"].out, spec["started"])
    denoiser.net.requires_grad_(spec["part"] != BRANCH)
    run_worker(
        denoiser,
        config,
        task("train"),
        check,
        preview,
        spec["place"],
        score=lambda found: found["loss"],
    )
