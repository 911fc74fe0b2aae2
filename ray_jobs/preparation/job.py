"""The job of `brainpress prepare`: Ray Data over subjects, then the table and the mark."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ldm.contrasts import MODALITY
from ldm.covariates import PAPER_SCHEMA, CovariateSchema, fit_schema
from ldm.errors import LdmError
from ldm.training.presets import preset
from ldm.volumes.grid import Grid
from manifests.errors import ReleaseError
from manifests.format.schema import Column, manifest_schema
from ray_jobs import cluster, ending
from ray_jobs.command_line import command_line
from ray_jobs.errors import JobError
from ray_jobs.files import in_utf8, read_json
from ray_jobs.preparation import notes
from ray_jobs.preparation.attempts import Attempts, resolved, told_choices
from ray_jobs.preparation.bids.choice import Choice
from ray_jobs.preparation.bids.description import told_description
from ray_jobs.preparation.bids.reading import Missing, Reading
from ray_jobs.preparation.bids.subjects import Subject, find_subjects
from ray_jobs.preparation.cohort import MARK, TABLE, VOLUMES, PreparedCohort
from ray_jobs.preparation.head_sizes import described
from ray_jobs.preparation.options import Options, suffixes_of
from ray_jobs.preparation.subject import refused_folder
from ray_jobs.preparation.table import (
    heads_are_known,
    subject_table,
    with_known_heads,
    with_modality,
    without_modality,
)
from ray_jobs.preparation.verdicts import picture, whole
from ray_jobs.progress import Progress, watched
from ray_jobs.room import Machine, room_for
from ray_jobs.setup import set_up
from ray_jobs.work_folder import WorkFolder

KINDS = ("bids", "virtual")
# Columns of a prepared cohort's and of latents' tables.
RESERVED = frozenset({"split", "volume", "sha256", "latent", "head_scale", "head_scale_from"})


def prepare(args: argparse.Namespace) -> int:
    """Prepare the cohort that `args` name; returns the exit code.

    Raises:
        JobError: a wrong option or folder, no usable subject, or more unusable than allowed.
    """
    chosen = preset(args.preset)
    template = without_modality(read_schema(args.covariates), suffixes_of(args.suffix))
    _check_numbers(args)
    allowed = parse_limit(args.max_unusable)
    args = with_kind(args)
    options, reading = Options.of(args, template), Reading.of(args, template)
    out, bids, subjects, source = _find(args, chosen.grid, template, options, reading)
    if options.normalise:
        subjects = with_known_heads(subjects)
    done = _prepare_all(subjects, out, chosen.grid, args, options)
    drawn = _draw(out, done)
    most = allowed(len(subjects)) if allowed else None
    subjects = [resolved(s, done.get(s.participant_id, {})) for s in subjects]
    try:
        done |= whole.unmixed(done, options, len(_unusable(subjects, done)), most)
    except JobError:
        out.remove(MARK)
        raise
    finally:
        unusable = _unusable(subjects, done)
        _tell(subjects, unusable, done, bids)
        if drawn:
            print(f"look at them: {out / picture.PICTURE}")
    if most is not None and len(unusable) > most:
        out.remove(MARK)
        raise JobError(
            f"{len(unusable)} of {len(subjects)} subjects cannot be used, more than "
            f"--max-unusable {args.max_unusable}; mend them or raise the limit",
            exit_code=1,
        )
    table = subject_table(subjects, done, template, args.validation, options, bids)
    table = whole.with_findings(table, done)
    if not len(table):
        why = whole.common_refusal(done)
        raise JobError(f"none of the {len(subjects)} subjects can be used{why}", exit_code=1)
    of_samples = dict(zip(table["participant_id"], table["notes"], strict=True))
    for line in notes.lines(of_samples):
        print(f"note: {line}", file=sys.stderr)
    if doubtful := notes.counts(of_samples.values()):
        source["notes"] = doubtful
    if args.cohort != "virtual":
        template, doubts = described(template, table, options)
        for line in doubts:
            print(f"note: {line}", file=sys.stderr)
    template, table, suffixes = with_modality(template, table, options.choice.suffixes)
    columns = {name: table[name].to_numpy() for name in template.names}
    schema = template.one_hot()
    if args.ranges == "cohort":
        schema = fit_schema(template, columns, missing=reading.missing is Missing.LEAVE_OUT)
    _tell_missing(table, template)
    grid = replace(chosen.grid, space=options.space)
    cohort = PreparedCohort(
        folder=out.path, grid=grid, schema=schema, table=table, source=source, suffixes=suffixes
    )
    _tell_contrasts(cohort, options.choice.suffixes)
    written = cohort.write(unusable, whole.told_subjects(done))
    for name in (TABLE, MARK):
        out.put(name)
    made = (
        f"{out}: {len(cohort.split('train'))} subjects to train on, "
        f"{len(cohort.split('validation'))} held out, {len(unusable)} unusable"
        f"{'' if written else '; nothing left to do'}"
    )
    print(ending.prepared(made, args))
    return 0


def with_kind(args: argparse.Namespace) -> argparse.Namespace:
    """`args`; --cohort FOLDER, as the later verbs have it, is the BIDS folder.

    Raises:
        JobError: no folder, or two.
    """
    args = argparse.Namespace(**vars(args))
    if args.cohort not in KINDS:
        if not Path(args.cohort).expanduser().is_dir():
            raise JobError(
                f"--cohort: invalid choice: {args.cohort!r}: no such folder; expected a BIDS "
                "folder, or virtual"
            )
        if args.bids is not None:
            raise JobError(f"two BIDS folders, {args.bids} and --cohort {args.cohort}; give one")
        args.bids, args.cohort = args.cohort, "bids"
    if (args.cohort == "bids") == (args.bids is None):
        raise JobError("give a BIDS folder, or --cohort virtual without one")
    return args


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
    args: argparse.Namespace,
    grid: Grid,
    template: CovariateSchema,
    options: Options,
    reading: Reading,
) -> tuple[WorkFolder, Path, list[Subject], dict[str, Any]]:
    """The folder of --out, that of BIDS, the subjects, and what they come from, in words."""
    source: dict[str, Any] = {"kind": args.cohort}
    if args.cohort == "virtual":
        if reading != Reading():
            raise JobError(
                "a virtual cohort's table is known: leave --column, --levels, --units and "
                "--missing out"
            )
        if "://" in args.out:
            raise JobError(
                f"--out {args.out}: the images of a virtual cohort are made in a folder; give one, "
                "and copy what is prepared there"
            )
        out = _claim(args, grid, options, seed=args.seed)
        bids = _virtual(out.path, args.n, args.seed, grid, options.choice.suffixes)
        source |= {"subjects": args.n, "seed": args.seed}
        subjects = find_subjects(bids, template, choice=Choice(suffixes=options.choice.suffixes))
    else:
        bids = in_utf8(Path(args.bids).expanduser().absolute(), "the BIDS folder")
        source |= {"name": bids.name}
        subjects = find_subjects(
            bids,
            template,
            measure=options.engine is not None,
            heads=options.normalise,
            reading=reading,
            choice=options.choice,
            tell=print,
        )
        out = _claim(args, grid, options, dataset=bids.name)
    described, problems = told_description(bids)
    for line in problems:
        print(f"note: {line}", file=sys.stderr)
    if args.cohort != "virtual" or args.placement:
        source |= {"placement": options.placement}
    source |= {**described, "command": command_line("prepare", args)}
    return out, bids, subjects, source


def _tell_missing(table: pd.DataFrame, schema: CovariateSchema) -> None:
    lacking = table[list(schema.names)].isna().sum()
    for name in schema.names:
        if lacking[name]:
            print(f"{name}: left out of {lacking[name]} of {len(table)} usable subjects")


def _tell_contrasts(cohort: PreparedCohort, asked: tuple[str, ...]) -> None:
    if len(asked) < 2:
        return
    if len(cohort.suffixes) < 2:
        print(
            f"of {', '.join(asked)} there is {cohort.suffixes[0]} alone: a cohort of one contrast"
        )
        return
    counts = cohort.table[MODALITY].value_counts()
    told = ", ".join(f"{counts[suffix]} {suffix}" for suffix in cohort.suffixes)
    print(f"{told} of {cohort.people('train') + cohort.people('validation')} people")


def _claim(args: argparse.Namespace, grid: Grid, options: Options, **cohort: Any) -> WorkFolder:
    """The place of --out, which now belongs to this cohort on this grid.

    Raises:
        JobError: it cannot be written to, or belongs to another.
    """
    identity = {"cohort": args.cohort, **cohort, "grid": grid.to_json(), **options.to_json()}
    out, _ = WorkFolder.claimed(args.out, identity, what="a prepared cohort")
    (out.path / VOLUMES).mkdir(exist_ok=True)
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
            '"unit": ..., "kind": "continuous", "minimum": ..., "maximum": ...}, {"name": ..., '
            '"kind": "categorical", "levels": [..., ...]}, ...]}; see docs/covariates.md'
        )
    try:
        schema = CovariateSchema.from_json(document)
        manifest_schema([Column(name=c.name) for c in schema.covariates])
    except (LdmError, ReleaseError) as error:
        raise JobError(f"--covariates {path}: {error}") from None
    if not len(schema):
        raise JobError(f"--covariates {path}: no covariate, expected at least one")
    if taken := sorted(RESERVED & set(schema.names)):
        raise JobError(
            f"--covariates {path}: {', '.join(taken)} is a name that prepare uses itself"
        )
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


def _virtual(out: Path, n: int, seed: int, grid: Grid, suffixes: tuple[str, ...]) -> Path:
    from ldm.anatomy.virtual.cohort import write_bids_cohort

    folder = out / "virtual"
    there = len(list(folder.glob("sub-*")))
    progress = Progress(n, what="drawing people") if there < n else None
    if progress:
        progress.begin()
    write_bids_cohort(
        folder,
        n,
        seed=seed,
        grid=grid,
        suffixes=suffixes,
        progress=(lambda done, _: progress.update(done)) if progress else None,
    )
    if progress:
        progress.end(n)
    return folder


def _prepare_all(
    subjects: list[Subject],
    out: WorkFolder,
    grid: Grid,
    args: argparse.Namespace,
    options: Options,
) -> dict[str, dict[str, Any]]:
    """The outcome of every subject that has what it needs, by id; what is there is kept."""
    heads_known = heads_are_known(subjects)
    done: dict[str, dict[str, Any]] = {}
    items = []
    for subject in subjects:
        if subject.reason is not None or subject.image is None:
            continue
        attempts = Attempts.of(subject, options, heads_known=heads_known)
        # In a bucket a worker looks, for which a volume has to come to its machine.
        outcome = None if out.in_bucket else attempts.kept(out.path / VOLUMES, grid)
        if outcome is not None:
            done[attempts.name] = outcome
        else:
            items.append({"attempts": attempts.to_json()})
    if not items:
        return done
    if not out.in_bucket:
        out.remove(MARK)

    def prepared(item: dict[str, Any]) -> dict[str, Any]:
        attempts = Attempts.from_json(item["attempts"])
        return {"id": attempts.name, "outcome": json.dumps(_prepared(attempts, out, grid))}

    with (
        cluster.session() as found,
        cluster.failures_told("preparation"),
        set_up(out.where, found) as setup,
    ):
        import ray.data

        cluster.quiet_ray_data()
        each = Machine(1)
        room = room_for(1, each, found, asked="prepare")
        # A cluster that grew may grow on: Ray is told of all there is to do.
        workers = args.workers or (len(items) if room.grew else room.slots(each))
        blocks = max(1, min(len(items), 4 * workers))
        dataset = ray.data.from_items(items, override_num_blocks=blocks).map(
            setup.function(prepared),
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=min(workers, blocks)),
        )
        for row in watched(dataset.iter_rows(), len(items), "preparing"):
            done[row["id"]] = json.loads(row["outcome"])
    return done


def _prepared(attempts: Attempts, out: WorkFolder, grid: Grid) -> dict[str, Any]:
    """A subject's outcome; in a bucket what is there is kept, and what is not is sent."""
    volumes = out.path / VOLUMES
    if not out.in_bucket:
        return attempts.prepare(volumes, grid)
    folders = (VOLUMES, refused_folder(volumes).name)
    keys = [f"{folder}/{attempts.name}.{end}" for folder in folders for end in ("npy", "json")]
    volumes.mkdir(parents=True, exist_ok=True)
    out.fetch_all(keys)
    outcome = attempts.kept(volumes, grid)
    if outcome is None:
        out.remove(MARK)
        outcome = attempts.prepare(volumes, grid)
        for key in keys:  # a mark after its volume
            out.put(key)
    return outcome


def _draw(out: WorkFolder, done: dict[str, dict[str, Any]]) -> bool:
    """The picture of the cohort; False where nobody was placed."""
    refused = refused_folder(out.path / VOLUMES)
    for name, kind in picture.pictured(done).items():
        out.fetch(f"{refused.name if kind == 'refused' else VOLUMES}/{name}.npy")
    drawn = picture.draw(out.path, out.path / VOLUMES, refused, done)
    if drawn:
        out.put(picture.PICTURE)
    return drawn


def _tell(
    subjects: list[Subject],
    unusable: list[dict[str, str]],
    done: dict[str, dict[str, Any]],
    bids: Path,
) -> None:
    redone = sum(outcome["redone"] for outcome in done.values() if "sha256" in outcome)
    there = len(subjects) - len(unusable) - redone
    print(f"{len(subjects)} subjects: {redone} prepared now, {there} already there")
    used = [subject for subject in subjects if "sha256" in done.get(subject.participant_id, {})]
    for line in told_choices(used, bids):
        print(line)
    for entry in unusable:
        print(f"unusable: {entry['participant_id']}: {entry['reason']}", file=sys.stderr)
    for line in whole.told_lines(done):
        print(line, file=sys.stderr)
