"""The job of `brainpress prepare`: Ray Data over subjects, then the table and the mark."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ldm.covariates import PAPER_SCHEMA, CovariateSchema, fit_schema
from ldm.errors import LdmError
from ldm.training.presets import preset
from ldm.volumes.grid import Grid
from ray_jobs import cluster
from ray_jobs.command_line import command_line
from ray_jobs.errors import JobError
from ray_jobs.files import output_folder, read_json, refuse_other_run
from ray_jobs.preparation.bids import Subject, find_subjects
from ray_jobs.preparation.cohort import MARK, VOLUMES, PreparedCohort
from ray_jobs.preparation.options import Options, Work
from ray_jobs.preparation.subject import kept, prepare_subject, refused_folder
from ray_jobs.preparation.table import heads_are_known, subject_table, with_known_heads
from ray_jobs.preparation.verdicts import picture, whole


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
    options = Options.of(args, template)
    out, subjects, source = _find(args, chosen.grid, template, options)
    if options.normalise:
        subjects = with_known_heads(subjects)
    done = _prepare_all(subjects, out, chosen.grid, args, options)
    drawn = picture.draw(out, out / VOLUMES, refused_folder(out / VOLUMES), done)
    most = allowed(len(subjects)) if allowed else None
    try:
        done |= whole.unmixed(done, options, len(_unusable(subjects, done)), most)
    except JobError:
        (out / MARK).unlink(missing_ok=True)
        raise
    finally:
        unusable = _unusable(subjects, done)
        _tell(subjects, unusable, done)
        if drawn:
            print(f"look at them: {out / picture.PICTURE}")
    if most is not None and len(unusable) > most:
        (out / MARK).unlink(missing_ok=True)
        raise JobError(
            f"{len(unusable)} of {len(subjects)} subjects cannot be used, more than "
            f"--max-unusable {args.max_unusable}; mend them or raise the limit",
            exit_code=1,
        )
    table = subject_table(subjects, done, template, args.validation, options)
    table = whole.with_findings(table, done)
    if not len(table):
        why = whole.common_refusal(done)
        raise JobError(f"none of the {len(subjects)} subjects can be used{why}", exit_code=1)
    columns = {name: table[name].to_numpy() for name in template.names}
    schema = fit_schema(template, columns) if args.ranges == "cohort" else template
    grid = replace(chosen.grid, space=options.space)
    cohort = PreparedCohort(folder=out, grid=grid, schema=schema, table=table, source=source)
    written = cohort.write(unusable, whole.told_subjects(done))
    print(
        f"{out}: {len(cohort.split('train'))} subjects to train on, "
        f"{len(cohort.split('validation'))} held out, {len(unusable)} unusable"
        f"{'' if written else '; nothing left to do'}"
    )
    return 0


def _unusable(subjects: list[Subject], done: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """Who cannot be used, and why."""
    return [
        {"participant_id": s.participant_id, "reason": r}
        for s in subjects
        if (r := s.reason or done[s.participant_id].get("reason"))
    ]


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
    args: argparse.Namespace, grid: Grid, template: CovariateSchema, options: Options
) -> tuple[Path, list[Subject], dict[str, Any]]:
    """The folder of --out, the subjects, and what they come from, in words."""
    source: dict[str, Any] = {"kind": args.cohort}
    if args.cohort == "virtual":
        out = _claim(args, grid, options, seed=args.seed)
        bids = _virtual(out, args.n, args.seed, grid)
        source |= {"subjects": args.n, "seed": args.seed}
        subjects = find_subjects(bids, template)
    else:
        bids = Path(args.bids).expanduser().absolute()
        source |= {"name": bids.name}
        subjects = find_subjects(bids, template, measure=options.engine is not None)
        out = _claim(args, grid, options, dataset=bids.name)
    if args.cohort != "virtual" or args.placement:
        source |= {"placement": options.placement}
    source |= {**_dataset_description(bids), "command": command_line("prepare", args)}
    return out, subjects, source


def _claim(args: argparse.Namespace, grid: Grid, options: Options, **cohort: Any) -> Path:
    """The folder of --out, which now belongs to this cohort on this grid.

    Raises:
        JobError: it cannot be written to, or belongs to another.
    """
    out = output_folder(args.out, what="a prepared cohort")
    identity = {"cohort": args.cohort, **cohort, "grid": grid.to_json()}
    refuse_other_run(out / "run.json", {**identity, **options.to_json()})
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
    from ldm.anatomy.virtual_cohort import write_bids_cohort

    folder = out / "virtual"
    with _progress(None, n) as bar:
        write_bids_cohort(folder, n, seed=seed, grid=grid, progress=lambda done, _: bar.update())
    return folder


def _dataset_description(bids: Path) -> dict[str, Any]:
    found = read_json(bids / "dataset_description.json") or {}
    names = {"Name": "dataset", "License": "license", "HowToAcknowledge": "attribution"}
    return {ours: found[theirs] for theirs, ours in names.items() if theirs in found}


def _prepare_all(
    subjects: list[Subject], out: Path, grid: Grid, args: argparse.Namespace, options: Options
) -> dict[str, dict[str, Any]]:
    """The outcome of every subject that has what it needs, by id; what is there is kept."""
    volumes, heads_known = out / VOLUMES, heads_are_known(subjects)
    done: dict[str, dict[str, Any]] = {}
    items = []
    for subject in subjects:
        if subject.reason is not None or subject.image is None:
            continue
        name, image = subject.participant_id, subject.image
        work = options.work(unmeasured=bool(subject.unmeasured), intracranial=heads_known)
        if (outcome := kept(name, image, volumes, grid, work)) is not None:
            done[name] = outcome
        else:
            items.append({"id": name, "image": str(image), "work": json.dumps(asdict(work))})
    if not items:
        return done
    (out / MARK).unlink(missing_ok=True)

    def prepared(item: dict[str, Any]) -> dict[str, Any]:
        work = Work(**json.loads(item["work"]))
        outcome = prepare_subject(item["id"], Path(item["image"]), volumes, grid, work)
        return {"id": item["id"], "outcome": json.dumps(outcome)}

    with cluster.session() as found, cluster.failures_told("preparation"):
        import ray.data

        cluster.quiet_ray_data()
        workers = args.workers or found.cpus
        blocks = max(1, min(len(items), 4 * workers))
        dataset = ray.data.from_items(items, override_num_blocks=blocks).map(
            prepared, num_cpus=1, compute=ray.data.TaskPoolStrategy(size=min(workers, blocks))
        )
        for row in _progress(dataset.iter_rows(), len(items)):
            done[row["id"]] = json.loads(row["outcome"])
    return done


def _progress(rows: Any, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(rows, total=total, unit="subject", disable=not sys.stderr.isatty())


def _tell(
    subjects: list[Subject], unusable: list[dict[str, str]], done: dict[str, dict[str, Any]]
) -> None:
    redone = sum(outcome["redone"] for outcome in done.values() if "sha256" in outcome)
    there = len(subjects) - len(unusable) - redone
    print(f"{len(subjects)} subjects: {redone} prepared now, {there} already there")
    for entry in unusable:
        print(f"unusable: {entry['participant_id']}: {entry['reason']}", file=sys.stderr)
    for line in whole.told_lines(done):
        print(line, file=sys.stderr)
