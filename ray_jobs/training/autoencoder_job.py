"""The job of `brainpress train-autoencoder`."""

from __future__ import annotations

import argparse
import math
from typing import Any

from ldm.training.config import TrainingConfig
from ldm.training.presets import Preset, preset
from ray_jobs import cluster, ending, forecast
from ray_jobs.command_line import command_line
from ray_jobs.encoding import autoencoder_folder
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training import features_job
from ray_jobs.training.fitting.fit import fit
from ray_jobs.training.fitting.identity import claim, held, is_finished, mark_finished
from ray_jobs.training.inputs import training_cohort, validation_volumes
from ray_jobs.training.options import Keeping, WorkerGroup, configure
from ray_jobs.training.starting.start import autoencoder_start, begin

RESULT = f"{autoencoder_folder.FOLDER}/{autoencoder_folder.CONFIG}"
PREVIEW_VOLUMES = 3  # held-out ones
# Of the figures by band, the one that is told in words; the history of an older run has none.
FINE, FINE_BAND = "power_0.26_0.30", "0.26 to 0.30 cycles a voxel"


def train_autoencoder(args: argparse.Namespace) -> int:
    """Train to the end and write `autoencoder/`; returns the exit code.

    Raises:
        JobError: see `fit`, `training_cohort` and `autoencoder_start`.
        LdmError: the perceptual network cannot be had.
    """
    chosen = preset(args.preset)
    config, source = features_job.choose(
        chosen, configure(chosen.train_autoencoder, args), args.perceptual
    )
    cohort = training_cohort(args.cohort, chosen.grid, args.preset)
    start = autoencoder_start(args.start, chosen.autoencoder) if args.start else None
    keeping, group = Keeping.of(args), WorkerGroup.of(args)
    if args.dry_run:
        from ldm.training.forecast.stages import autoencoder

        count = len(cohort.split("train"))
        return forecast.tell("autoencoder", autoencoder, chosen, config, args, count)
    identity = {
        "kind": "autoencoder",
        "cohort": cohort.fingerprint,
        "network": chosen.autoencoder.to_json(),
        "training": {**config.identity(), "kl_weight": _kl_weight_a_value(chosen, config)},
        **features_job.identity(chosen, source, cohort, config.seed),
        **({"critic": chosen.critic.to_json()} if config.adversarial_weight else {}),
        **({"from": start.told()} if start else {}),
    }
    command = command_line("train-autoencoder", args)
    out, begun = claim(args.out, identity)
    with held(out) as lease:
        if is_finished(out, RESULT, config.steps, None, keeping.take):
            made = f"{out}: already trained for {config.steps} steps; nothing left to do"
            print(ending.autoencoder_trained(made, args))
            return 0
        if start:
            start.put(out)
        with cluster.session():
            spec = {
                "cohort": cohort.where,
                "preset": chosen.to_json(),
                "config": config.to_json(),
                "perceptual": features_job.provide(
                    chosen, source, cohort, config.seed, out, group, keeping
                ),
                "started": start is not None,
            }
            fitted = fit(worker, spec, begun, out, group, keeping, lease)
        from ldm.networks import Autoencoder

        network = Autoencoder(chosen.autoencoder)
        network.load_state_dict(fitted.weights)
        training = {
            "cohort": cohort.source,
            "subjects": len(cohort.split("train")),
            "steps": fitted.step,
            "command": command,
            "config": config.to_json(),
            **({"perceptual": source} if config.perceptual_weight else {}),
            **({"from": start.told()} if start else {}),
            "history": fitted.history,
        }
        autoencoder_folder.trained(network, cohort.grid, training, out.where).write(out.path)
        out.put_folder(autoencoder_folder.FOLDER, last=autoencoder_folder.CONFIG)
        mark_finished(out, fitted.reached, None, keeping.take)
        last = fitted.history[-1]
        fine = f", {last[FINE]:.0%} of their power at {FINE_BAND}" if FINE in last else ""
        made = (
            f"{out / autoencoder_folder.FOLDER}: {fitted.step} steps; held-out subjects "
            f"reconstruct with PSNR {last['psnr']:.2f} dB, SSIM {last['ssim']:.4f}, "
            f"{last['edges']:.0%} of their edges{fine}"
        )
        print(ending.autoencoder_trained(made, args))
        return 0


def _kl_weight_a_value(chosen: Preset, config: TrainingConfig) -> float:
    """The weight of the KL term as a mean over a latent's values, which is how the identity of a
    run has always had it."""
    values = math.prod(chosen.latent_shape)
    return float(f"{config.kl_weight * values:.6g}")


def worker(spec: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import torch
    from torch import nn

    from ldm.networks import Autoencoder
    from ldm.training.adversarial import PatchCritic
    from ldm.training.autoencoder import AdversarialAutoencoderTask, AutoencoderTask, validate
    from ldm.training.perceptual import OFF, open_distance
    from ldm.volumes.conversion import read_volume
    from ldm.volumes.previews import mosaic
    from ray_jobs.training.fitting.worker import run_worker

    chosen = Preset.from_json(spec["preset"])
    config = TrainingConfig.from_json(spec["config"])
    cohort = PreparedCohort.open(spec["cohort"])
    distance = (
        None if spec["perceptual"] == OFF else open_distance(features_job.here(spec["perceptual"]))
    )
    held_out = validation_volumes(cohort)

    def check(average: nn.Module, rank: int, world: int, device: torch.device) -> dict[str, float]:
        assert isinstance(average, Autoencoder)
        return validate(average, held_out[rank::world], device)

    @torch.inference_mode()
    def preview(average: nn.Module, device: torch.device) -> bytes:
        assert isinstance(average, Autoencoder)
        volumes = [read_volume(path) for path in held_out[:PREVIEW_VOLUMES]]
        pictures, titles = [], []
        for number, volume in enumerate(volumes):
            inputs = torch.from_numpy(volume)[None, None].to(device)
            decoded = average.decode(average.encode(inputs)[0])
            pictures += [volume, decoded[0, 0].float().clamp(0, 1).cpu().numpy()]
            titles += [f"held out {number + 1}", "reconstruction"]
        return mosaic(pictures, titles)

    torch.manual_seed(config.seed)
    network = Autoencoder(chosen.autoencoder)
    begin(network, spec["place"].out, spec["started"])
    critic = PatchCritic(chosen.critic) if config.adversarial_weight else None
    volumes = cohort.volumes("train")
    task = (
        AutoencoderTask(volumes, config, chosen.latent_shape, distance)
        if critic is None
        else AdversarialAutoencoderTask(volumes, config, chosen.latent_shape, critic, distance)
    )
    run_worker(
        network,
        config,
        task,
        check,
        preview,
        spec["place"],
        score=lambda found: found["l1"],
        critic=critic,
    )
