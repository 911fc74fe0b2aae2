"""The first stage of train-autoencoder: the features of the perceptual term, by the cohort."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.training.config import TrainingConfig
from ldm.training.perceptual import COHORT, OFF, WEIGHTS, open_distance, source_digest
from ldm.training.perceptual import CONFIG as RESULT
from ldm.training.presets import Preset
from ray_jobs.errors import JobError
from ray_jobs.files import refuse_other_run
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training.fitting.fit import fit
from ray_jobs.training.fitting.identity import LAST, held, is_finished, mark_finished
from ray_jobs.training.inputs import validation_volumes
from ray_jobs.training.options import Keeping, WorkerGroup
from ray_jobs.work_folder import RUN, WorkFolder

FOLDER = "perceptual"
PREVIEW_VOLUMES = 3


def choose(chosen: Preset, config: TrainingConfig, asked: str | None) -> tuple[TrainingConfig, str]:
    """The config and where the perceptual network comes from: `--perceptual`, else the preset's.

    "off" sets the term's weight to 0, and a weight of 0 needs no network.

    Raises:
        JobError: a network asked for and a weight of 0. LdmError: nothing at a path.
    """
    if asked == OFF:
        return replace(config, perceptual_weight=0.0), OFF
    if not config.perceptual_weight:
        if asked is not None:
            raise JobError(
                f"--perceptual {asked} with weight 0: the preset leaves the term out; "
                "give --perceptual-weight too (0.1 suits cohort features, 0.002 the others)"
            )
        return config, OFF
    source = asked or chosen.perceptual
    if source == OFF:
        return replace(config, perceptual_weight=0.0), OFF
    if source == COHORT or source.split(":")[0] == "monai":
        return config, source
    return config, str(Path(source).expanduser().absolute())


def identity(chosen: Preset, source: str, cohort: PreparedCohort, seed: int) -> dict[str, Any]:
    """What names the perceptual network in the identity of the autoencoder's run.

    Raises:
        LdmError: no weights at the path.
    """
    if source == OFF:
        return {}
    if source != COHORT:
        return {"perceptual": source_digest(source)}
    return {"perceptual": {"cohort": _identity(chosen, cohort, seed)}}


def _identity(chosen: Preset, cohort: PreparedCohort, seed: int) -> dict[str, Any]:
    return {
        "kind": "features",
        "cohort": cohort.fingerprint,
        "network": chosen.features.to_json(),
        "training": _config(chosen, seed).identity(),
    }


def _config(chosen: Preset, seed: int) -> TrainingConfig:
    return replace(chosen.train_features, seed=seed)


def provide(
    chosen: Preset,
    source: str,
    cohort: PreparedCohort,
    seed: int,
    run: WorkFolder,
    group: WorkerGroup,
    keeping: Keeping,
) -> str:
    """What `here` makes ready for `open_distance`: the source itself once it is known to open, or
    the `perceptual/` of the run in that folder, trained now unless it is there already.

    Raises:
        LdmError: the network cannot be had. JobError: see `fit`.
    """
    if source == OFF:
        return source
    if source != COHORT:
        open_distance(source)
        return source
    config = _config(chosen, seed)
    out, begun = _below(run, _identity(chosen, cohort, seed))
    if is_finished(out, RESULT, config.steps, None):
        try:
            open_distance(here(out.where))
            return out.where
        except LdmError:  # damaged since: its checkpoint has it still
            pass
    spec = {"cohort": cohort.where, "preset": chosen.to_json(), "config": config.to_json()}
    if config.batch_size < group.workers:
        group = replace(group, workers=1, min_workers=None)
    with held(out) as lease:
        fitted = fit(worker, spec, begun, out, group, replace(keeping, take=LAST), lease)
    from ldm.training.features import FeatureNetwork
    from ldm.training.perceptual import write_features

    network = FeatureNetwork(chosen.features)
    network.load_state_dict(fitted.weights)
    last = fitted.history[-1]
    write_features(
        out.path,
        network,
        {"cohort": cohort.source, "steps": fitted.step, "history": fitted.history},
    )
    for name in (WEIGHTS, RESULT):
        out.put(name)
    mark_finished(out, fitted.reached, None)
    print(
        f"{out}: features of the perceptual term; held-out pieces with an error of "
        f"{last['l1_spoilt']:.4f} are restored to {last['l1']:.4f}, rising blur is told in "
        f"{last['ordered']:.0%} of them"
    )
    return out.where


def _below(run: WorkFolder, identity: dict[str, Any]) -> tuple[WorkFolder, dict[str, Any]]:
    """The folder of the features in that of the run."""
    out = run.below(FOLDER)
    out.path.mkdir(parents=True, exist_ok=True)
    begun = refuse_other_run(out.fetch(RUN), identity)
    out.put(RUN)
    return out, begun


def here(source: str) -> str:
    """The source, on this machine where it is in a bucket."""
    if "://" not in source:
        return source
    run = WorkFolder.read(source)
    for name in (WEIGHTS, RESULT):
        run.fetch(name, anew=True)
    return str(run.path)


def worker(spec: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import numpy as np
    import torch
    from torch import nn

    from ldm import noise
    from ldm.training.features import FeatureNetwork, FeatureTask, piece, spoil, validate
    from ldm.volumes.previews import mosaic
    from ray_jobs.training.fitting.worker import run_worker

    chosen = Preset.from_json(spec["preset"])
    config = TrainingConfig.from_json(spec["config"])
    cohort = PreparedCohort.open(spec["cohort"])
    held_out = validation_volumes(cohort)

    def check(average: nn.Module, rank: int, world: int, device: torch.device) -> dict[str, float]:
        assert isinstance(average, FeatureNetwork)
        return validate(average, held_out[rank::world], config.seed, device)

    @torch.inference_mode()
    def preview(average: nn.Module, device: torch.device) -> bytes:
        pictures, titles = [], []
        for number, path in enumerate(held_out[:PREVIEW_VOLUMES]):
            rng = noise.generator(noise.AUGMENT, config.seed, 1 << 32, number)
            clean = piece(np.load(path, mmap_mode="r"), chosen.features.piece, rng)
            spoilt = spoil(clean, rng)
            restored = average(torch.from_numpy(spoilt)[None, None].to(device))
            pictures += [clean, spoilt, restored[0, 0].float().cpu().numpy()]
            titles += [f"held out {number + 1}", "spoilt", "restored"]
        return mosaic(pictures, titles)

    torch.manual_seed(config.seed)
    task = FeatureTask(cohort.volumes("train"), chosen.features, config)
    network = FeatureNetwork(chosen.features)
    run_worker(
        network,
        config,
        task,
        check,
        preview,
        spec["place"],
        score=lambda found: found["l1"],
    )
