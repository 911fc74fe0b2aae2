"""The job of `brainpress train-gan`: the fit, then the finished model's folder."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from ldm.covariates import UNCONDITIONAL
from ldm.covariates.distribution import CohortDistribution
from ldm.gan.presets import GanPreset, gan_preset
from ldm.models.description import CONFIG, GAN, ModelDescription
from ldm.training.config import TrainingConfig
from ldm.volumes.quality import Bounds, fit_bounds, measure
from ray_jobs import ending
from ray_jobs.command_line import command_line
from ray_jobs.errors import JobError
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training.fitting.fit import Fitted, fit
from ray_jobs.training.fitting.identity import claim, held, is_finished, mark_finished
from ray_jobs.training.inputs import training_cohort, validation_volumes
from ray_jobs.training.options import Keeping, WorkerGroup, about_model, configure

MODEL = "model"
RESULT = f"{MODEL}/{CONFIG}"
PREVIEW_SAMPLES, PREVIEW_PAIRS = 6, 3  # the pairs of held-out volumes
# How far beyond the training volumes' figures a sample's may lie, in ranges of theirs. A baseline
# is to be printed with its weaknesses; the check keeps out what is no head at all.
BOUNDS_MARGIN = 3.0


def train_gan(args: argparse.Namespace) -> int:
    """Train to the end and write `model/`; returns the exit code.

    Raises:
        JobError: see `fit` and `training_cohort`.
    """
    chosen = gan_preset(args.preset)
    config = configure(chosen.training[args.kind], args)
    cohort = training_cohort(args.cohort, chosen.grid, args.preset)
    if len(cohort.suffixes) > 1:
        raise JobError(
            f"{args.cohort} holds {', '.join(cohort.suffixes)}: this model takes no covariates, "
            "and nobody could tell which contrast it draws; prepare one with --suffix"
        )
    keeping, group = Keeping.of(args), WorkerGroup.of(args)
    identity = {
        "kind": args.kind,
        "cohort": cohort.fingerprint,
        "generator": chosen.generator.to_json(),
        "critic": chosen.critic.to_json(),
        "training": config.identity(),
    }
    otherwise = f"Unconditional 3D {args.kind}, a baseline."
    about = about_model(args, cohort.source, otherwise)
    out, begun = claim(args.out, identity)
    with held(out) as lease:
        if is_finished(out, RESULT, config.steps, about, keeping.take):
            made = f"{out}: already trained for {config.steps} steps; nothing left to do"
            print(ending.model_trained(made, args.out))
            return 0
        spec = {
            "cohort": cohort.where,
            "kind": args.kind,
            "preset": args.preset,
            "config": config.to_json(),
        }
        fitted = fit(worker, spec, begun, out, group, keeping, lease)
        from ldm.gan.model import save_gan
        from ldm.gan.tasks import network_of
        from ldm.gan.validation import generator_of

        network = network_of(args.kind, chosen.generator, chosen.critic)
        network.load_state_dict(fitted.weights)
        card = {**about, "training": _training(args, cohort, config, fitted)}
        described = save_gan(
            out.path / MODEL, describe_model(args.name, card, chosen, cohort), generator_of(network)
        )
        out.put_folder(MODEL, last=CONFIG)
        mark_finished(out, fitted.reached, about, keeping.take)
        size = sum(entry["bytes"] for entry in described.files.values()) / 1e6
        figures = _figures(card["training"]["gan"])
        made = f"{out / MODEL}: {fitted.step} steps, {figures}, {size:.1f} MB"
        print(ending.model_trained(made, args.out))
        return 0


def describe_model(
    name: str, card: dict[str, Any], chosen: GanPreset, cohort: PreparedCohort
) -> ModelDescription:
    """What `model.json` will say."""
    return ModelDescription(
        name=name,
        card=card,
        schema=UNCONDITIONAL,
        distribution=CohortDistribution.of_nothing(),
        grid=cohort.grid,
        kind=GAN,
        suffixes=cohort.suffixes,
        generator=chosen.generator.to_json(),
        bounds=bounds(cohort),
    )


def bounds(cohort: PreparedCohort) -> Bounds:
    """What the quality check accepts, from the training volumes."""
    figures = [measure(np.load(path)) for path in cohort.volumes("train")]
    return fit_bounds(figures, margin=BOUNDS_MARGIN)


def _training(
    args: argparse.Namespace, cohort: PreparedCohort, config: TrainingConfig, fitted: Fitted
) -> dict[str, Any]:
    """The card's account of the training: commands, data, seeds, losses."""
    commands = (cohort.source.get("command"), command_line("train-gan", args))
    return {
        "cohort": {k: v for k, v in cohort.source.items() if k != "command"},
        "subjects": len(cohort.split("train")),
        "held_out": len(cohort.split("validation")),
        "preset": args.preset,
        "commands": [command for command in commands if command],
        "gan": {
            "kind": args.kind,
            "steps": fitted.step,
            "config": config.to_json(),
            "history": fitted.history,
            "likeness_of_held_out": likeness_of_held_out(cohort),
        },
    }


def likeness_of_held_out(cohort: PreparedCohort) -> float | None:
    """What the samples' likeness is to be read against; None where one subject is held out."""
    from ldm.gan.validation import likeness

    paths = validation_volumes(cohort)
    return round(likeness(np.stack([np.load(path) for path in paths])), 4) if paths[1:] else None


def _figures(trained: dict[str, Any]) -> str:
    """What the last validation found, in words."""
    last, real = trained["history"][-1], trained["likeness_of_held_out"]
    told = f"samples correlate by {last['likeness']:.3f}"
    told += f" (held-out subjects by {real:.3f})" if real is not None else ""
    if "psnr" not in last:
        return told
    return (
        f"held-out subjects reconstruct with PSNR {last['psnr']:.2f} dB, "
        f"SSIM {last['ssim']:.4f}, {told}"
    )


def worker(spec: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import torch
    from torch import nn

    from ldm.gan.networks import Critic, VaeGan
    from ldm.gan.tasks import network_of, task_of
    from ldm.gan.validation import generator_of, samples, validate
    from ldm.volumes.conversion import read_volume
    from ldm.volumes.previews import mosaic
    from ray_jobs.training.fitting.worker import run_worker

    chosen = gan_preset(spec["preset"])
    config = TrainingConfig.from_json(spec["config"])
    cohort = PreparedCohort.open(spec["cohort"])
    held_out = validation_volumes(cohort)
    torch.manual_seed(config.seed)
    network = network_of(spec["kind"], chosen.generator, chosen.critic)
    critic = Critic(chosen.critic)
    task = task_of(spec["kind"], cohort.volumes("train"), config, critic, chosen.generator.latent)

    def check(average: nn.Module, rank: int, world: int, device: torch.device) -> dict[str, float]:
        return validate(average, critic, held_out[rank::world], device)

    @torch.inference_mode()
    def preview(average: nn.Module, device: torch.device) -> bytes:
        pictures = list(samples(generator_of(average), PREVIEW_SAMPLES, device))
        titles = [f"sample {number}" for number in range(PREVIEW_SAMPLES)]
        for number, path in enumerate(
            held_out[:PREVIEW_PAIRS] if isinstance(average, VaeGan) else ()
        ):
            assert isinstance(average, VaeGan)
            volume = read_volume(path)
            again = average.reconstruct(torch.from_numpy(volume)[None, None].to(device))
            pictures += [volume, again[0, 0].float().cpu().numpy()]
            titles += [f"held out {number + 1}", "reconstruction"]
        return mosaic(pictures, titles)

    run_worker(
        network,
        config,
        task,
        check,
        preview,
        spec["place"],
        score=lambda found: -found.get("ssim", 0.0),  # of an LSGAN nothing tells
        critic=critic,
    )
