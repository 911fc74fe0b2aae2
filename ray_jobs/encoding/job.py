"""The job of `brainpress encode-latents`: Ray Data over subjects, then the table and the mark."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd

from ldm.anatomy.copies import WHOLE
from ldm.anatomy.deformed import CHANGED
from ldm.covariates import CovariateSchema
from ldm.training.presets import CHANNEL, ONE, SCALES, preset
from ldm.volumes.quality import FIGURES
from ray_jobs import cluster, ending
from ray_jobs.command_line import command_line
from ray_jobs.encoding.autoencoder_folder import CONFIG, FOLDER, open_autoencoder
from ray_jobs.encoding.checks import fit_checks
from ray_jobs.encoding.latents import ARRAYS, MARK, EncodedCohort, factor_column, identity
from ray_jobs.errors import JobError
from ray_jobs.files import digest
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.progress import watched
from ray_jobs.room import Machine, room_for
from ray_jobs.setup import set_up
from ray_jobs.work_folder import WorkFolder

_SIZES = ("mm", "mm2", "mm3", "cm", "cm2", "cm3", "ml", "l")


def encode_latents(args: argparse.Namespace) -> int:
    """Encode every subject of the cohort; returns the exit code.

    Raises:
        JobError: a wrong option or folder, or latents of another autoencoder or cohort in --out.
    """
    chosen = preset(args.preset)
    copies = chosen.latent_copies if args.copies is None else args.copies
    scale = args.latent_scale or chosen.latent_scale
    if scale not in SCALES:
        raise JobError(f"--latent-scale {scale}: expected {' or '.join(SCALES)}")
    if copies < 1:
        raise JobError(f"--copies {copies}: expected at least 1")
    if args.workers is not None and args.workers < 1:
        raise JobError(f"--workers {args.workers}: expected at least 1")
    cohort = PreparedCohort.open(args.cohort)
    trained = open_autoencoder(args.autoencoder)
    if not cohort.grid.same_voxels(trained.grid):
        raise JobError(
            f"{args.cohort} is prepared at {cohort.grid.shape}, {cohort.grid.spacing:g} mm, the "
            f"autoencoder was trained at {trained.grid.shape}, {trained.grid.spacing:g} mm; "
            "give the cohort it was trained on"
        )
    if args.deform:
        check_deform(cohort.schema, copies)
    known = identity(cohort.fingerprint, copies, trained.sha256, args.deform, scale)
    out, _ = WorkFolder.claimed(args.out, known, what="latents")
    if _is_complete(out, digest(known)):
        made = f"{out}: {len(cohort.table)} subjects already encoded; nothing left to do"
        print(ending.encoded(made, args))
        return 0
    out.remove(MARK)
    if not out.fetch(f"{FOLDER}/{CONFIG}").exists():
        trained.write(out.path)
        out.put_folder(FOLDER, last=CONFIG)
    (out.path / ARRAYS).mkdir(exist_ok=True)
    table = cohort.table.assign(
        latent=[f"{ARRAYS}/{name}.npy" for name in cohort.table["participant_id"]]
    )
    there = len(out.keys(f"{ARRAYS}/") & set(table["latent"]))
    rows = _encode_all(table, out, cohort.where, copies, args)
    command = command_line("encode-latents", args)
    encoded = collect(rows, table, cohort, copies, out, command, deformed=args.deform, scale=scale)
    encoded.write()
    made = (
        f"{out}: {len(table)} subjects, {copies} copies each: {len(table) - there} encoded now, "
        f"{there} already there"
    )
    print(ending.encoded(made, args))
    return 0


def check_deform(schema: CovariateSchema, copies: int) -> None:
    """Refuse to bend where a covariate would come out wrong: bending knows of two alone.

    Raises:
        JobError: another covariate that is a size, or no copy that would be bent.
    """
    if copies <= WHOLE:
        raise JobError(
            f"--deform: of {copies} copies none is bent; expected --copies {WHOLE + 1} or more"
        )
    for covariate in schema.continuous:
        if covariate.unit.lower() in _SIZES and covariate.name not in CHANGED:
            raise JobError(
                f"--deform: by how much {covariate.name!r} ({covariate.unit}) changes in a bent "
                f"copy is not known, only {' and '.join(CHANGED)}; leave --deform out"
            )


def _is_complete(out: WorkFolder, fingerprint: str) -> bool:
    """Whether these very latents are all there."""
    try:
        return EncodedCohort.open(out).fingerprint == fingerprint
    except JobError:
        return False


def _encode_all(
    table: pd.DataFrame, out: WorkFolder, cohort: str, copies: int, args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    items = table[["participant_id", "volume", "sha256", "latent"]].to_dict(orient="records")
    with (
        cluster.session() as found,
        cluster.failures_told("encoding"),
        set_up(out.where, found) as setup,
    ):
        import ray.data

        from ray_jobs.encoding.encoder import CopyMaker, Encoder

        cluster.quiet_ray_data()
        each = Machine(1, int(args.gpu))
        room = room_for(1, each, found, asked="encode-latents" + " --gpu" * args.gpu)
        workers = min(args.workers or room.slots(each), len(items))
        blocks = max(1, min(len(items), 4 * workers))
        dataset: Any = ray.data.from_items(items, override_num_blocks=blocks)
        if args.gpu:  # which is not to wait for copies that are made on a CPU
            makers = min(max(1, room.slots(Machine(1))), len(items))
            dataset = dataset.map(
                setup.actor(CopyMaker),
                fn_constructor_args=(out, cohort, copies, args.deform),
                compute=ray.data.ActorPoolStrategy(size=makers),
                num_cpus=1,
            )
        dataset = dataset.map(
            setup.actor(Encoder),
            fn_constructor_args=(out, cohort, copies, args.gpu, args.deform),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=0 if args.gpu else 1,
            num_gpus=1 if args.gpu else 0,
        )
        rows = watched(dataset.iter_rows(), len(items), "encoding")
        return {row["participant_id"]: row for row in rows}


def collect(
    rows: dict[str, dict[str, Any]],
    table: pd.DataFrame,
    cohort: PreparedCohort,
    copies: int,
    out: WorkFolder,
    command: str,
    *,
    deformed: bool = False,
    scale: str = CHANNEL,
) -> EncodedCohort:
    """The encoded cohort; statistics over the training subjects, in the order of their ids.

    With a `scale` of "one" all channels have the same deviation: of all values around their
    channel's mean, so that together they have variance 1 (Rombach et al. 2022 app. G).
    """
    subjects = cohort.split("train")
    training = [rows[name] for name in subjects["participant_id"]]
    first, second = np.mean([row["sums"] for row in training], axis=0)
    variance = second - first**2
    std = np.sqrt(np.full_like(variance, variance.mean()) if scale == ONE else variance)
    figures = [{name: row[name] for name in FIGURES} for row in training]
    checks = fit_checks(figures, subjects, cohort.schema, cohort.suffixes)
    told = table[["participant_id", "split", "latent", *cohort.schema.names]].copy()
    for column in map(factor_column, CHANGED if deformed else ()):
        told[column] = [list(rows[name][column]) for name in table["participant_id"]]
    return EncodedCohort(
        folder=out,
        schema=cohort.schema,
        table=told,
        latent_mean=tuple(float(m) for m in first),
        latent_std=tuple(float(s) for s in std),
        bounds=checks.bounds,
        brain_size=checks.brain_size,
        copies=copies,
        cohort=cohort.fingerprint,
        source=cohort.source,
        command=command,
        deformed=deformed,
        scale=scale,
        space=cohort.grid.space,
        suffixes=cohort.suffixes,
        bounds_of=checks.bounds_of,
    )
