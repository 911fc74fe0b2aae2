"""The job of `brainpress train-autoencoder`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ldm.presets import preset
from ldm.training.config import TrainingConfig
from ray_jobs.command_line import command_line
from ray_jobs.files import output_folder
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training import autoencoder_folder
from ray_jobs.training.fit import fit, is_finished, mark_finished
from ray_jobs.training.inputs import training_cohort
from ray_jobs.training.options import configure

# Held-out volumes that validation reads at most, and that a preview shows.
VALIDATION_VOLUMES, PREVIEW_VOLUMES = 32, 3


def train_autoencoder(args: argparse.Namespace) -> int:
    """Train to the end and write `autoencoder/`; returns the exit code.

    Raises:
        JobError: see `fit` and `training_cohort`.
    """
    chosen = preset(args.preset)
    config = configure(chosen.train_autoencoder, args)
    cohort = training_cohort(args.cohort, chosen.grid, args.preset)
    out = output_folder(args.out, what="a training run")
    identity = {
        "kind": "autoencoder",
        "cohort": cohort.fingerprint,
        "network": chosen.autoencoder.to_json(),
        "training": config.identity(),
    }
    result = out / autoencoder_folder.FOLDER / autoencoder_folder.CONFIG
    command = command_line("train-autoencoder", args)
    if is_finished(out, identity, result, config.steps, None):
        print(f"{out}: already trained for {config.steps} steps; nothing left to do")
        return 0
    spec = {
        "cohort": str(cohort.folder),
        "preset": args.preset,
        "config": config.to_json(),
        "out": str(out),
    }
    groups, meta = fit(
        worker,
        spec,
        identity,
        out,
        workers=args.workers,
        gpu=args.gpu,
        cpus_per_worker=args.cpus_per_worker,
        retries=args.retries,
    )
    from ldm.networks import Autoencoder

    network = Autoencoder(chosen.autoencoder)
    network.load_state_dict(groups["average"])
    training = {
        "cohort": cohort.source,
        "subjects": len(cohort.split("train")),
        "steps": meta["step"],
        "command": command,
        "config": config.to_json(),
        "history": meta["history"],
    }
    autoencoder_folder.write(out, network, cohort.grid, training)
    mark_finished(out, meta["step"], None)
    last = meta["history"][-1]
    print(
        f"{out / 'autoencoder'}: {meta['step']} steps; held-out subjects reconstruct with "
        f"PSNR {last['psnr']:.2f} dB, SSIM {last['ssim']:.4f}"
    )
    return 0


def worker(spec: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import torch
    from torch import nn

    from ldm.networks import Autoencoder
    from ldm.previews import mosaic
    from ldm.training.autoencoder_task import AutoencoderTask, read_volume, validate
    from ray_jobs.training.worker import run_worker

    chosen = preset(spec["preset"])
    config = TrainingConfig.from_json(spec["config"])
    cohort = PreparedCohort.open(Path(spec["cohort"]))
    latent = (
        chosen.autoencoder.latent_channels,
        *(side // chosen.autoencoder.factor for side in chosen.grid.shape),
    )
    task = AutoencoderTask(cohort.volumes("train"), config, latent)
    held_out = cohort.volumes("validation")[:VALIDATION_VOLUMES]

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
    run_worker(network, config, task, check, preview, Path(spec["out"]), spec["threads"])
