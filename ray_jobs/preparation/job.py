"""The job of `brainpress prepare`: Ray Data over subjects, then the table and the mark."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from ldm.covariates import PAPER_SCHEMA, CovariateSchema, fit_schema
from ldm.errors import LdmError
from ldm.grid import Grid
from ldm.presets import preset
from ray_jobs import cluster
from ray_jobs.command_line import command_line
from ray_jobs.errors import JobError
from ray_jobs.files import output_folder, read_json, refuse_other_run
from ray_jobs.preparation.bids import Subject, find_subjects, in_validation
from ray_jobs.preparation.cohort import MARK, VOLUMES, PreparedCohort
from ray_jobs.preparation.subject import kept, prepare_subject


def prepare(args: argparse.Namespace) -> int:
    """Prepare the cohort that `args` name; returns the exit code.

    Raises:
        JobError: a wrong option or folder, no usable subject, or more unusable than allowed.
    """
    chosen = preset(args.preset)
    template = read_schema(args.covariates)
    _check_numbers(args)
    allowed = parse_limit(args.max_unusable)
    if (args.cohort == "bids") == (args.bids is None):
        raise JobError("give a BIDS folder, or --cohort virtual without one")
    out, subjects, source = _find(args, chosen.grid, template)
    done = _prepare_all(subjects, out, chosen.grid, args)
    unusable = [
        {"participant_id": s.participant_id, "reason": r}
        for s in subjects
        if (r := s.reason or done[s.participant_id].get("reason"))
    ]
    _tell(subjects, unusable, done)
    if allowed is not None and len(unusable) > allowed(len(subjects)):
        (out / MARK).unlink(missing_ok=True)
        raise JobError(
            f"{len(unusable)} of {len(subjects)} subjects cannot be used, more than "
            f"--max-unusable {args.max_unusable}; mend them or raise the limit",
            exit_code=1,
        )
    table = _table(subjects, done, template, args.validation)
    if not len(table):
        raise JobError(f"none of the {len(subjects)} subjects can be used", exit_code=1)
    columns = {name: table[name].to_numpy() for name in template.names}
    schema = fit_schema(template, columns) if args.ranges == "cohort" else template
    cohort = PreparedCohort(folder=out, grid=chosen.grid, schema=schema, table=table, source=source)
    written = cohort.write(unusable)
    print(
        f"{out}: {len(cohort.split('train'))} subjects to train on, "
        f"{len(cohort.split('validation'))} held out, {len(unusable)} unusable"
        f"{'' if written else '; nothing left to do'}"
    )
    return 0


def _check_numbers(args: argparse.Namespace) -> None:
    if not 0 <= args.validation < 1:
        raise JobError(f"--validation {args.validation}: expected a share from 0 to below 1")
    for option, value, least in (
        ("--n", args.n, 1),
        ("--seed", args.seed, 0),
        ("--workers", args.workers, 1),
    ):
        if value is not None and value < least:
            raise JobError(f"{option} {value}: expected at least {least}")


def _find(
    args: argparse.Namespace, grid: Grid, template: CovariateSchema
) -> tuple[Path, list[Subject], dict[str, Any]]:
    """The folder of --out, the subjects, and what they come from, in words."""
    source: dict[str, Any] = {"kind": args.cohort}
    if args.cohort == "virtual":
        out = _claim(args, grid, seed=args.seed)
        bids = _virtual(out, args.n, args.seed, grid)
        source |= {"subjects": args.n, "seed": args.seed}
        subjects = find_subjects(bids, template)
    else:
        bids = Path(args.bids).expanduser().absolute()
        source |= {"name": bids.name}
        subjects = find_subjects(bids, template)
        out = _claim(args, grid, dataset=bids.name)
    source |= {**_dataset_description(bids), "command": command_line("prepare", args)}
    return out, subjects, source


def _claim(args: argparse.Namespace, grid: Grid, **cohort: Any) -> Path:
    """The folder of --out, which now belongs to this cohort on this grid.

    Raises:
        JobError: it cannot be written to, or belongs to another.
    """
    out = output_folder(args.out, what="a prepared cohort")
    identity = {"cohort": args.cohort, **cohort, "grid": grid.to_json()}
    refuse_other_run(out / "run.json", {**identity, "placement": args.placement})
    (out / VOLUMES).mkdir(exist_ok=True)
    return out


def read_schema(path: str | None) -> CovariateSchema:
    """The covariate schema in a JSON file; by default the paper's.

    Raises:
        JobError: no such file, not JSON, or not a schema.
    """
    if path is None:
        return PAPER_SCHEMA
    document = read_json(Path(path))
    if document is None:
        raise JobError(
            f'--covariates {path}: expected a JSON file {{"covariates": [{{"name": ..., '
            '"unit": ..., "kind": ..., "minimum": ..., "maximum": ...}, ...]}'
        )
    try:
        schema = CovariateSchema.from_json(document)
    except LdmError as error:
        raise JobError(f"--covariates {path}: {error}") from None
    if not len(schema):
        raise JobError(f"--covariates {path}: no covariate, expected at least one")
    return schema


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

    folder = out / "virtual"
    with _progress(None, n) as bar:
        write_bids_cohort(folder, n, seed=seed, grid=grid, progress=lambda done, _: bar.update())
    return folder


def _dataset_description(bids: Path) -> dict[str, Any]:
    found = read_json(bids / "dataset_description.json") or {}
    names = {"Name": "dataset", "License": "license", "HowToAcknowledge": "attribution"}
    return {ours: found[theirs] for theirs, ours in names.items() if theirs in found}


def _prepare_all(
    subjects: list[Subject], out: Path, grid: Grid, args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """The outcome of every subject that has what it needs, by id; what is there is kept."""
    volumes, placement = out / VOLUMES, args.placement
    done: dict[str, dict[str, Any]] = {}
    items = []
    for subject in subjects:
        if subject.reason is not None or subject.image is None:
            continue
        name, image = subject.participant_id, subject.image
        if (outcome := kept(name, image, volumes, grid, placement)) is not None:
            done[name] = outcome
        else:
            items.append({"id": name, "image": str(image)})
    if not items:
        return done
    (out / MARK).unlink(missing_ok=True)

    def work(item: dict[str, Any]) -> dict[str, Any]:
        outcome = prepare_subject(item["id"], Path(item["image"]), volumes, grid, placement)
        return {"id": item["id"], "sha256": "", "reason": "", **outcome}

    with cluster.session() as found, cluster.failures_told("preparation"):
        import ray.data

        cluster.quiet_ray_data()
        workers = args.workers or found.cpus
        blocks = max(1, min(len(items), 4 * workers))
        dataset = ray.data.from_items(items, override_num_blocks=blocks).map(
            work, num_cpus=1, compute=ray.data.TaskPoolStrategy(size=min(workers, blocks))
        )
        for row in _progress(dataset.iter_rows(), len(items)):
            failed = {"reason": row["reason"]}
            done[row["id"]] = failed if row["reason"] else {"sha256": row["sha256"], "redone": True}
    return done


def _progress(rows: Any, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(rows, total=total, unit="subject", disable=not sys.stderr.isatty())


def _tell(
    subjects: list[Subject], unusable: list[dict[str, str]], done: dict[str, dict[str, Any]]
) -> None:
    redone = sum(bool(outcome.get("redone")) for outcome in done.values())
    there = len(subjects) - len(unusable) - redone
    print(f"{len(subjects)} subjects: {redone} prepared now, {there} already there")
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
