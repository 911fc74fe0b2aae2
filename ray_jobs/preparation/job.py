"""The job of `brainpress prepare`: Ray Data over subjects, then the table and the mark."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from ldm.covariates import PAPER_SCHEMA, CovariateSchema, fit_schema
from ldm.grid import Grid
from ldm.presets import preset
from ray_jobs import cluster
from ray_jobs.errors import JobError
from ray_jobs.files import output_folder, read_json
from ray_jobs.preparation.bids import Subject, find_subjects, in_validation
from ray_jobs.preparation.cohort import MARK, VOLUMES, PreparedCohort
from ray_jobs.preparation.subject import prepare_subject


def prepare(args: argparse.Namespace) -> int:
    """Prepare the cohort that `args` name; returns the exit code.

    Raises:
        JobError: a wrong option or folder, no usable subject, or more unusable than allowed.
    """
    chosen = preset(args.preset)
    template = read_schema(args.covariates)
    if not 0 <= args.validation < 1:
        raise JobError(f"--validation {args.validation}: expected a share from 0 to below 1")
    if args.workers is not None and args.workers < 1:
        raise JobError(f"--workers {args.workers}: expected at least 1")
    allowed = parse_limit(args.max_unusable)
    if (args.cohort == "bids") == (args.bids is None):
        raise JobError("give a BIDS folder, or --cohort virtual without one")
    out = output_folder(args.out, what="a prepared cohort")
    source: dict[str, Any]
    if args.cohort == "virtual":
        bids = _virtual(out, args.n, args.seed, chosen.grid)
        source = {"kind": "virtual", "subjects": args.n, "seed": args.seed}
    else:
        bids = Path(args.bids).expanduser().absolute()
        source = {"kind": "bids", "name": bids.name, **_dataset_description(bids)}
    subjects = find_subjects(bids, template)
    (out / VOLUMES).mkdir(exist_ok=True)
    (out / MARK).unlink(missing_ok=True)
    done = _prepare_all(subjects, out / VOLUMES, chosen.grid, args)
    unusable = [
        {"participant_id": s.participant_id, "reason": r}
        for s in subjects
        if (r := s.reason or done[s.participant_id].get("reason"))
    ]
    _tell(subjects, unusable, done)
    if allowed is not None and len(unusable) > allowed(len(subjects)):
        raise JobError(
            f"{len(unusable)} of {len(subjects)} subjects cannot be used, more than "
            f"--max-unusable {args.max_unusable}; mend them or raise the limit",
            exit_code=1,
        )
    table = _table(subjects, done, template, args.validation)
    if not len(table):
        raise JobError(f"none of the {len(subjects)} subjects in {bids} can be used", exit_code=1)
    columns = {name: table[name].to_numpy() for name in template.names}
    schema = fit_schema(template, columns) if args.ranges == "cohort" else template
    cohort = PreparedCohort(folder=out, grid=chosen.grid, schema=schema, table=table, source=source)
    cohort.write(unusable)
    counts = table["split"].value_counts()
    print(
        f"{out}: {counts.get('train', 0)} subjects to train on, "
        f"{counts.get('validation', 0)} held out, {len(unusable)} unusable"
    )
    return 0


def read_schema(path: str | None) -> CovariateSchema:
    """The covariate schema in a JSON file; by default the paper's.

    Raises:
        JobError: no such file, or not JSON.
    """
    if path is None:
        return PAPER_SCHEMA
    document = read_json(Path(path))
    if document is None:
        raise JobError(
            f'--covariates {path}: expected a JSON file {{"covariates": [{{"name": ..., '
            '"unit": ..., "kind": ..., "minimum": ..., "maximum": ...}, ...]}'
        )
    return CovariateSchema.from_json(document)


def parse_limit(text: str | None) -> Any:
    """A function from the number of subjects to how many may be unusable, or None.

    Raises:
        JobError: neither a count nor a percentage.
    """
    if text is None:
        return None
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise JobError(f"--max-unusable {text}: expected a count such as 3 or a share such as 5%")
    if text.endswith("%"):
        return lambda subjects: number / 100 * subjects
    return lambda subjects: number


def _virtual(out: Path, n: int, seed: int, grid: Grid) -> Path:
    from ldm.virtual_cohort import write_bids_cohort

    if n < 1:
        raise JobError(f"--n {n}: expected at least 1 subject")
    folder = out / "virtual"
    write_bids_cohort(folder, n, seed=seed, grid=grid)
    return folder


def _dataset_description(bids: Path) -> dict[str, Any]:
    found = read_json(bids / "dataset_description.json") or {}
    names = {"Name": "dataset", "License": "license", "HowToAcknowledge": "attribution"}
    return {ours: found[theirs] for theirs, ours in names.items() if theirs in found}


def _prepare_all(
    subjects: list[Subject], volumes: Path, grid: Grid, args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    usable = [s for s in subjects if s.reason is None]
    if not usable:
        return {}
    items = [{"id": s.participant_id, "image": str(s.image)} for s in usable]
    placement = args.placement

    def work(item: dict[str, Any]) -> dict[str, Any]:
        outcome = prepare_subject(item["id"], Path(item["image"]), volumes, grid, placement)
        return {"id": item["id"], "sha256": "", "redone": False, "reason": ""} | outcome

    with cluster.session() as found:
        import ray.data

        cluster.quiet_ray_data()
        workers = args.workers or found.cpus
        blocks = max(1, min(len(items), 4 * workers))
        dataset = ray.data.from_items(items, override_num_blocks=blocks).map(work, num_cpus=1)
        rows = _progress(dataset.iter_rows(), len(items))
    return {
        row["id"]: {"reason": row["reason"]}
        if row["reason"]
        else {"sha256": row["sha256"], "redone": row["redone"]}
        for row in rows
    }


def _progress(rows: Any, total: int) -> list[dict[str, Any]]:
    from tqdm import tqdm

    return list(tqdm(rows, total=total, unit="subject", disable=not sys.stderr.isatty()))


def _tell(
    subjects: list[Subject], unusable: list[dict[str, str]], done: dict[str, dict[str, Any]]
) -> None:
    redone = sum(bool(outcome.get("redone")) for outcome in done.values())
    kept = len(subjects) - len(unusable) - redone
    print(f"{len(subjects)} subjects: {redone} prepared now, {kept} already there")
    for entry in unusable:
        print(f"unusable: {entry['participant_id']}: {entry['reason']}", file=sys.stderr)


def _table(
    subjects: list[Subject],
    done: dict[str, dict[str, Any]],
    schema: CovariateSchema,
    validation: float,
) -> pd.DataFrame:
    columns = ["participant_id", "split", "volume", "sha256", *schema.names]
    rows = [
        {
            "participant_id": s.participant_id,
            "split": "validation" if in_validation(s.participant_id, validation) else "train",
            "volume": f"{VOLUMES}/{s.participant_id}.npy",
            "sha256": done[s.participant_id]["sha256"],
            **s.covariates,
        }
        for s in subjects
        if s.reason is None and "sha256" in done[s.participant_id]
    ]
    return pd.DataFrame(rows, columns=columns)
