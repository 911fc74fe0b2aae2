"""The job of `brainpress train-private`: a public model's U-Net, tuned on people by DP-SGD."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ldm.diffusion.schedule import Schedule
from ldm.models.card import PRIVACY
from ldm.models.description import CONFIG, ModelDescription
from ldm.split import person_of
from ldm.training.config import TrainingConfig
from ldm.training.private.config import PrivacyConfig
from ray_jobs import ending
from ray_jobs.command_line import command_line
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError
from ray_jobs.places import absolute
from ray_jobs.training.conditions import check_missing, conditions
from ray_jobs.training.diffusion_job import MODEL, RESULT, VALIDATION_SUBJECTS
from ray_jobs.training.fitting.fit import fit
from ray_jobs.training.fitting.identity import claim, held, is_finished, mark_finished
from ray_jobs.training.options import Keeping, WorkerGroup, about_model, configure
from ray_jobs.training.previews import preview_covariate, preview_rows, rising_preview
from ray_jobs.training.starting.carrying import check_same_covariates
from ray_jobs.training.starting.start import model_start

VERB = "train-private"
SHARE_PER_STEP = 0.25  # of the people, by default
# Few steps of many people each: for one promise, noise grows with the steps' number.
USUAL = TrainingConfig(
    steps=60,
    batch_size=1,
    learning_rate=2e-3,
    warmup_steps=0,
    ema_decay=0.9,
    condition_dropout=0.1,
    clip_norm=1e3,  # each person's gradient is bounded; the mean of all need not be
    save_every=20,
)


def train_private(args: argparse.Namespace) -> int:
    """Train to the end and write `model/`; returns the exit code.

    Raises:
        JobError: see `fit` and `model_start`; latents of another autoencoder or of other
            covariates, or a public model that is a private one.
        LdmError: a promise that no noise keeps.
    """
    latents = EncodedCohort.open(args.latents)
    public = model_start(args.start, "train-diffusion")
    _check_public(args.start, public, latents)
    config = _config(args, public)
    check_missing(latents, config)
    privacy = _promise(args, latents, config.steps)
    rising = preview_covariate(public.schema, args.preview)
    keeping, group = Keeping.of(args), WorkerGroup.of(args)
    described: ModelDescription = public.description
    identity = {
        "kind": "private",
        "latents": latents.fingerprint,
        "from": described.fingerprint,
        "privacy": privacy.to_json(),
        "training": config.identity(),
    }
    from ldm.training.private.accountant import noise_multiplier

    multiplier = noise_multiplier(privacy)
    about = about_model(args, latents.source)
    out, begun = claim(args.out, identity)
    with held(out) as lease:
        if is_finished(out, RESULT, config.steps, about):
            print(f"{out}: already trained for {config.steps} steps; nothing left to do")
            return 0
        print(_header(privacy, multiplier))
        spec = {
            "latents": latents.folder.where,
            "public": absolute(args.start),
            "config": config.to_json(),
            "privacy": privacy.to_json(),
            "multiplier": multiplier,
            "preview": rising,
        }
        fitted = fit(worker, spec, begun, out, group, keeping, lease)
        from ldm.models.latent_diffusion import save

        denoiser = public.denoiser
        denoiser.load_state_dict(fitted.weights)
        card = {
            **about,
            PRIVACY: statement(privacy, multiplier, described),
            "training": {
                "public": described.card.get("training", {}),
                "commands": [command_line(VERB, args)],
                "config": config.to_json(),
            },
        }
        whole = replace(described, name=args.name, card=card)
        save(out.path / MODEL, whole, public.autoencoder, denoiser)
        out.put_folder(MODEL, last=CONFIG)
        mark_finished(out, fitted.reached, about)
        made = (
            f"{out / MODEL}: {fitted.step} steps, epsilon {privacy.epsilon:g} at delta "
            f"{privacy.delta:.2g} a person; of the rest of {out} nothing may be given away"
        )
        print(ending.model_trained(made, args.out))
        return 0


def statement(
    privacy: PrivacyConfig, multiplier: float, public: ModelDescription
) -> dict[str, Any]:
    """What the card says of the promise, and of what it rests on."""
    from ldm.training.private.accountant import accountant_name

    return {
        **privacy.to_json(),
        "noise_multiplier": round(multiplier, 4),
        "sampling_rate": round(privacy.rate, 6),
        "accountant": accountant_name(),
        "neighbours": "one person more or less",
        "public": {"name": public.name, "fingerprint": public.fingerprint},
    }


def people_of(latents: EncodedCohort, split: str) -> list[np.ndarray]:
    """Of each person of a split the places of their samples, in the order of the table."""
    persons = latents.split(split)["participant_id"].map(person_of)
    return [np.flatnonzero(persons == person) for person in persons.unique()]


def _config(args: argparse.Namespace, public: Any) -> TrainingConfig:
    """The numbers of the run; conditions are dropped only in a network that learnt to miss them."""
    learnt = public.denoiser.config.null_condition is not None
    if not learnt and args.condition_dropout:
        raise JobError(
            f"--condition-dropout {args.condition_dropout:g}: the U-Net of --from {args.start} was "
            "trained with its conditions always given; expected 0"
        )
    usual = USUAL if learnt else replace(USUAL, condition_dropout=0.0)
    return replace(configure(usual, args), batch_size=args.draws)


def _promise(args: argparse.Namespace, latents: EncodedCohort, steps: int) -> PrivacyConfig:
    people = len(people_of(latents, "train"))
    taken = args.people_per_step
    return PrivacyConfig(
        epsilon=args.epsilon,
        delta=0.1 / people if args.delta is None else args.delta,
        people=people,
        people_per_step=SHARE_PER_STEP * people if taken is None else taken,
        steps=steps,
        draws=args.draws,
        tuned=args.tune,
    )


def _header(privacy: PrivacyConfig, multiplier: float) -> str:
    return (
        f"{privacy.people} people, {privacy.people_per_step:.3g} a step by chance, "
        f"{privacy.steps} steps: epsilon {privacy.epsilon:g} at delta {privacy.delta:.2g} takes "
        f"noise of {multiplier:.3g} times what a person adds at most"
    )


def _check_public(source: str, public: Any, latents: EncodedCohort) -> None:
    if PRIVACY in public.description.card:
        raise JobError(
            f"--from {source} was trained on people privately, and what it spent of theirs is not "
            "reckoned again; expected the public model that it was made from"
        )
    check_same_covariates(public.schema, latents.schema)
    import torch

    trained, kept = (
        net.state_dict() for net in (latents.autoencoder.network(), public.autoencoder)
    )
    same = all(
        name in kept and torch.equal(value.half(), kept[name].half())
        for name, value in trained.items()
    )
    if not same:
        raise JobError(
            f"{latents.folder} was encoded by another autoencoder than that of --from {source}; "
            "encode the people with the public model's: brainpress encode-latents --autoencoder"
        )


def worker(spec: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import torch
    from torch import nn

    from ldm.models.latent_diffusion import Model
    from ldm.networks import Denoiser
    from ldm.training.diffusion import DiffusionTask
    from ldm.training.loop import Step, Task, TrainingState
    from ldm.training.private.steps import train_privately, tune
    from ray_jobs.training.fitting.worker import run_worker

    config = TrainingConfig.from_json(spec["config"])
    privacy = PrivacyConfig.from_json(spec["privacy"])
    latents = EncodedCohort.open(spec["latents"])
    public = model_start(spec["public"], "train-diffusion")
    described: ModelDescription = public.description
    schedule = replace(Schedule.from_json(described.schedule), truncation=0)

    def task(split: str) -> DiffusionTask:
        return DiffusionTask(
            latents.paths(split),
            conditions(latents, split, described.schema),
            described.latent_mean,
            described.latent_std,
            schedule,
            config,
        )

    held_out, people = task("validation"), people_of(latents, "train")
    rows = preview_rows(described.distribution, described.schema, spec["preview"])

    def check(average: nn.Module, rank: int, world: int, device: torch.device) -> dict[str, float]:
        subjects = range(rank, min(held_out.count, VALIDATION_SUBJECTS), world)
        return held_out.validate(average, subjects, device)

    def preview(average: nn.Module, device: torch.device) -> bytes:
        denoiser = Denoiser(public.denoiser.config)
        denoiser.load_state_dict(average.state_dict())
        model = Model(described, public.autoencoder, denoiser, device=str(device))
        return rising_preview(model, rows, spec["preview"])

    def steps(state: TrainingState, of: Task, **place: Any) -> Iterator[Step]:
        assert isinstance(of, DiffusionTask)
        multiplier, doing = spec["multiplier"], place["doing"]
        return train_privately(state, of, people, privacy, multiplier, doing=doing)

    tune(public.denoiser, privacy.tuned)
    run_worker(
        public.denoiser,
        config,
        task("train"),
        check,
        preview,
        spec["place"],
        score=lambda found: found["loss"],
        steps=steps,
    )
