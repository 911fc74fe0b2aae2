"""Samples of a finished release that are drawn again: lost images, failed samples, and some by
chance, to compare.

The first two have the right to change the release for the whole time, so that nothing is withdrawn
or published meanwhile, and are resumed by running the same command again: what is there already is
found there. The last writes nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from manifests.changes.changing import Changing, changing
from manifests.changes.journal import GENERATE
from manifests.commands.shared import Progress
from manifests.errors import ReleaseError
from manifests.format.layout import part_key, participant_id
from manifests.format.parquet import MOST_PART_BYTES, table_from_bytes
from manifests.format.schema import FAILED, OK
from manifests.ledger import Ledger
from manifests.ledger.finalise import WAIT_SECONDS
from manifests.numbers import counted, human_seconds, ranges
from manifests.query.held import held
from manifests.query.release import Release
from manifests.storage import open_to_write
from manifests.storage.base import Store
from manifests.text import one_line
from manifests.verify.findings import REMADE, Report
from manifests.verify.images import check_images
from manifests.verify.release import CONNECTIONS
from ray_jobs.errors import JobError
from ray_jobs.generation.finish import COMPLETE, INCOMPLETE, finish, software_version
from ray_jobs.generation.job import drive, ray_cluster
from ray_jobs.generation.options import Device, Options
from ray_jobs.generation.start import Request, Work, check, fields_of, planned
from ray_jobs.generation.words import say
from ray_jobs.generation.worker.assignment import Again, ShardReport, Why
from ray_jobs.interrupts import Interrupts

SHOWN = 10


def samples_of(out: str, endpoint_url: str | None = None) -> int:
    """How many samples the finished release has that lies there.

    Raises:
        ReleaseError: there is none.
    """
    store = open_to_write(out, endpoint_url=endpoint_url)
    return int(Release.at(store).about["counts"]["samples"])


def repair(options: Options, *, dry_run: bool = False) -> int:
    """Make the images again that a release has lost, each in its place and as it was.

    Args:
        options: as many samples as the release has; what is left as usual is as in its plan.
        dry_run: only say which are lost.

    Returns:
        0 where every image is there, 1 where some did not come out as they were.

    Raises:
        JobError, LdmError, ReleaseError: in one line, what is wrong with options, model, store or
            cluster; a plan that the options contradict; images that are not done yet.
    """
    started, interrupts = time.monotonic(), Interrupts(options.grace)
    with interrupts.caught():
        request, work = _begun(options)
        with _right_to_change(request.store, dry_run=dry_run) as right:
            lost = _lost_images(Release.at(request.store))
            if not lost:
                print(f"nothing to repair: every image of {request.store.uri} is as it was")
                return COMPLETE
            if right is None:
                named = _named(row["index"] for row in lost)
                print(f"{counted(len(lost), 'image')} would be made again: {named}")
                return COMPLETE
            again = Again(
                why=Why.REPAIR,
                attempts={r["index"]: range(r["attempt"], r["attempt"] + 1) for r in lost},
                digests={row["index"]: row["sha256"] for row in lost},
                lease=right.lease.register.identity,
            )
            reports = _drive(request, work, again, interrupts)
            right.lease.renew()
            return _told(request, reports, seconds=time.monotonic() - started)


def recheck(options: Options, count: int, *, dry_run: bool = False) -> int:
    """Draw samples of a release again, by chance, and hold them against its manifest.

    What a device draws otherwise another device draws too, where there is one; only what two agree
    about is the release's fault. Nothing is written.

    Args:
        options: as of `repair`.
        count: how many samples; all where it has fewer.
        dry_run: only say which.

    Returns:
        0 where all came out as the manifest says, 1 where some did not.

    Raises:
        JobError, LdmError, ReleaseError: as of `repair`.
    """
    started, interrupts = time.monotonic(), Interrupts(options.grace)
    with interrupts.caught():
        request, work = _begun(options)
        chosen = _some(Release.at(request.store), count)
        if dry_run or not chosen:
            named = _named(row["index"] for row in chosen)
            print(f"{counted(len(chosen), 'sample')} would be drawn again: {named}")
            return COMPLETE
        again = Again(
            why=Why.RECHECK,
            attempts={r["index"]: range(r["attempt"], r["attempt"] + 1) for r in chosen},
            digests={row["index"]: row["sha256"] for row in chosen},
        )
        reports = _drive(request, work, again, interrupts)
        return _compared(request, reports, seconds=time.monotonic() - started)


def redraw(options: Options, *, more: int | None = None, dry_run: bool = False) -> int:
    """Draw on where every attempt at a sample failed, and close the release with what came of it.

    Args:
        options: as of `repair`.
        more: attempts, after those that were spent; as many as the plan has where None.
        dry_run: only say which failed.

    Returns:
        0 when every sample has its volume, 1 when some failed again.

    Raises:
        JobError, LdmError, ReleaseError: as of `repair`.
    """
    started, interrupts = time.monotonic(), Interrupts(options.grace)
    with interrupts.caught():
        request, work = _begun(replace(options, attempts=Options.attempts))
        with _right_to_change(request.store, dry_run=dry_run) as right:
            failed = _failed(Release.at(request.store))
            if not failed:
                print(f"nothing to draw again: no sample of {request.store.uri} failed")
                return COMPLETE
            spent = _spent(request.store, work, failed)
            if right is None:
                print(f"{counted(len(spent), 'sample')} would be drawn again: {_named(spent)}")
                return COMPLETE
            tries = more or work.recipe.attempts
            again = Again(
                why=Why.REDRAW,
                attempts={index: range(done, done + tries) for index, done in spent.items()},
                lease=right.lease.register.identity,
            )
            made = sum(report.rows for report in _drive(request, work, again, interrupts))
            seconds = time.monotonic() - started
            return finish(request, work, made=made, seconds=seconds, under=right)


def _begun(options: Options) -> tuple[Request, Work]:
    """The request, by the plan that is there, and what was to do of it."""
    store = open_to_write(options.out, endpoint_url=options.endpoint_url)
    plan = Ledger(store).plan()
    if plan is None:
        raise JobError(
            f"--out {options.out}: it has no manifest/plan.json, by which its samples are drawn "
            "again; expected a release that was made there, not a downloaded part of one"
        )
    request = check(_pinned(options, plan["fields"]))
    work = planned(request, fields_of(request, device=Device.CPU))
    Ledger(request.store).begin(work.document)  # refuses another plan
    return request, work


def _pinned(options: Options, fields: Mapping[str, Any]) -> Options:
    """The options, what was left as usual as in the plan."""
    fixed = tuple(f"{name}={value}" for name, value in fields.get("fixed", {}).items())
    drawn = str(fields["covariates"])
    of_plan: dict[str, Any] = {
        "seed": int(fields["seed"]),
        "attempts": int(fields["attempts"]),
        "quality": fields.get("quality", "model"),
        "fix": fixed,
        "covariates": "cohort" if drawn == "none" else drawn,
    }
    usual = {name: Options.__dataclass_fields__[name].default for name in of_plan}
    left = {name: value for name, value in of_plan.items() if getattr(options, name) == usual[name]}
    if left.get("covariates", "").startswith("table:"):
        raise JobError(
            f"{options.out} was made with covariates from a table: give the same with --covariates"
        )
    return replace(options, **left)


@contextmanager
def _right_to_change(store: Store, *, dry_run: bool) -> Iterator[Changing | None]:
    """The right to change the release; None of a dry run, which changes nothing."""
    if dry_run:
        yield None
        return
    with changing(store, GENERATE, wait_seconds=WAIT_SECONDS) as right:
        if right.mended is not None:
            say(one_line(right.mended.told))
        yield right


def _drive(request: Request, work: Work, again: Again, interrupts: Interrupts) -> list[ShardReport]:
    """Draw again what is asked for, on Ray."""
    shards = {index // work.shards.shard_size for index in again.attempts}
    if not shards:
        return []
    with ray_cluster(request.options, interrupts) as cluster:
        todo = replace(work, pending=sorted(shards))
        return drive(request, todo, cluster, interrupts, again=again)


def _some(release: Release, count: int) -> list[dict[str, Any]]:
    """The rows of so many samples that have an image, by chance."""
    with held(release) as rows:
        indices = rows.query(f"status = '{OK}'", columns=["index"])[0].to_pylist()
        chosen = sorted(random.sample(indices, min(count, len(indices))))
        if not chosen:
            return []
        wanted = ", ".join(map(str, chosen))
        table = rows.query(f"index IN ({wanted})", columns=["index", "sha256", "attempt"])
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def _lost_images(release: Release) -> list[dict[str, Any]]:
    """The rows whose image is not there, or not the one that the manifest names."""
    columns = ["index", "path", "bytes", "sha256", "status", "attempt"]
    with held(release) as rows:
        table = rows.query(f"status = '{OK}'", columns=columns)
    report = Report(uri=release.store.uri)
    check_images(
        release.store,
        table,
        None,
        report,
        remembered=None,
        trusting=False,
        connections=CONNECTIONS,
        sample=None,
        seed=0,
        on_progress=Progress("checked"),
    )
    lost = {finding.key for finding in report.findings if finding.code in REMADE}
    return [row for row in table.to_pylist() if row["path"] in lost]


def _failed(release: Release) -> list[int]:
    """The samples that failed, as the manifest says."""
    with held(release) as rows:
        failed: list[int] = rows.query(f"status = '{FAILED}'", columns=["index"])[0].to_pylist()
    return failed


def _spent(store: Store, work: Work, failed: Iterable[int]) -> dict[int, int]:
    """How many attempts were spent on each sample that failed, by index.

    One that a run drew again which did not come to its end has its image already.
    """
    wanted, spent = set(failed), {}
    for shard in sorted({index // work.shards.shard_size for index in wanted}):
        key = part_key(shard)
        try:
            data = store.get(key, most=MOST_PART_BYTES)
        except KeyError:
            line = f"{store.uri}/{key} is missing; see `brainpress verify`"
            raise ReleaseError(line, exit_code=1) from None
        for row in table_from_bytes(data, f"{store.uri}/{key}").to_pylist():
            if row["index"] in wanted and row["status"] == FAILED:
                spent[row["index"]] = row["attempt"] + 1
    return spent


def _told(request: Request, reports: Iterable[ShardReport], *, seconds: float) -> int:
    """Say what became of lost images; the exit code."""
    reports, uri = list(reports), request.store.uri
    unlike = sorted(index for report in reports for index in report.unlike)
    made = sum(report.rows for report in reports) - len(unlike)
    print(f"{counted(made, 'image')} made again as before in {human_seconds(seconds)}: {uri}")
    if not unlike:
        return COMPLETE
    say(
        f"brainpress generate: {_named(unlike)} did not come out as the manifest says, so nothing "
        f"was written there: {_otherwise(request)}; repair the release where it was made, or take "
        "them out: brainpress withdraw"
    )
    return INCOMPLETE


def _compared(request: Request, reports: Iterable[ShardReport], *, seconds: float) -> int:
    """Say what became of a recheck; the exit code."""
    reports, uri = list(reports), request.store.uri
    unlike = sorted(index for report in reports for index in report.unlike)
    alike = sum(report.rows for report in reports) - len(unlike)
    took = human_seconds(seconds)
    print(f"{counted(alike, 'sample')} drawn again as the manifest says in {took}: {uri}")
    if not unlike:
        return COMPLETE
    say(
        f"brainpress generate: {_named(unlike)} did not come out as the manifest says: "
        f"{_otherwise(request)}, or the device that drew them was wrong; if others come out as "
        "they were, withdraw these: brainpress withdraw"
    )
    return INCOMPLETE


def _otherwise(request: Request) -> str:
    """Why samples may come out otherwise though nothing is wrong."""
    before = Release.at(request.store).document.software_version
    return (
        "another kind of processor, or another version of brainpress "
        f"({before} then, {software_version()} now) or of PyTorch, rounds otherwise"
    )


def _named(indices: Iterable[int]) -> str:
    """Samples by their names; many by their numbers."""
    found = sorted(indices)
    if len(found) <= SHOWN:
        return ", ".join(map(participant_id, found))
    return f"samples {ranges(found)}"
