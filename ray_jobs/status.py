"""How much of a release or a training is done, what is missing, how fast it goes.

Reads the storage alone, so it works from anywhere, while the work is being done or after. The exit
code is 0 when it is finished, 1 when it is not; of a prepared cohort, latents or a report too."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manifests.ledger.status import Status
    from manifests.storage.base import Store
    from ray_jobs.inspection.kinds import Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from manifests.commands.shared import PLACES, add_place, at_least_one

    add_place(parser, PLACES)
    parser.add_argument(
        "--n",
        type=at_least_one,
        metavar="N",
        help="samples that are wanted (default: what the last `generate` was asked for)",
    )
    parser.add_argument("--shards", action="store_true", help="tell of every shard too")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.epilog = (
        "examples:\n  brainpress status s3://bucket/release\n"
        "  brainpress status release --shards | grep missing\n"
        "  brainpress status diffusion\n"
        "  watch -n 60 brainpress status s3://bucket/release"
    )


def run(args: argparse.Namespace) -> int:
    from manifests.commands.shared import place_of
    from ray_jobs.inspection.kinds import Kind, kind_at

    store = place_of(args)
    kind = kind_at(args.release, store)
    if kind is not Kind.RELEASE:
        return _of_another(kind, args, store)
    from manifests.ledger.status import read_status

    status = read_status(store, n=args.n, by_shard=args.shards)
    print(json.dumps(asdict(status), indent=2) if args.json else describe(status))
    return 0 if status.finished else 1


def _of_another(kind: Kind, args: argparse.Namespace, store: Store) -> int:
    """The status of what is no release.

    Raises:
        JobError: an option that is of releases alone.
    """
    from manifests.text import printable
    from ray_jobs.errors import JobError
    from ray_jobs.inspection.kinds import Kind
    from ray_jobs.inspection.run import read_run, told_status

    for option in ("n", "shards"):
        if getattr(args, option):
            raise JobError(f"--{option}: of releases; {args.release} is a {kind}")
    if kind is Kind.TRAINING:
        run = read_run(store)
        told = json.dumps(asdict(run), indent=2) if args.json else "\n".join(told_status(run))
        print(printable(told))
        return 0 if run.finished else 1
    from ray_jobs.inspection.about import about

    about(kind, args.release, store)  # says what is not finished
    known = {"kind": str(kind), "uri": args.release, "finished": True}
    print(json.dumps(known, indent=2) if args.json else f"{kind}: {args.release}\nfinished  yes")
    return 0


def describe(status: Status) -> str:
    """The status for people, a few lines, and a line for each shard where it tells of them."""
    from manifests.numbers import human_rate, human_seconds, ranges

    asked = "?" if status.samples is None else f"{status.samples:,}"
    missing = f", {status.missing:,} missing" if status.missing else ""
    lines = [
        f"release   {status.uri}",
        f"samples   {status.done:,} of {asked} done, {status.failed:,} of them failed{missing}",
    ]
    if status.shards is not None:
        lines.append(
            f"shards    {status.shards_done:,} of {status.shards:,} done,"
            f" {status.shards_pending:,} pending, {status.shard_size:,} samples each"
        )
    if status.missing_shards:
        word = "shard" if len(status.missing_shards) == 1 else "shards"
        lines.append(f"missing   {word} {ranges(status.missing_shards)}")
    if status.missing_shards and status.quiet_seconds is not None:
        ago = f"the last commit was {human_seconds(status.quiet_seconds)} ago"
        rate = f"{human_rate(status.rate)}, " if status.rate else ""
        lines.append(f"rate      {rate}{ago}")
    if status.seconds_left is not None:
        lines.append(f"left      {human_seconds(status.seconds_left)} at that rate")
    lines.append(f"finished  {_finished(status)}")
    if status.maps is not None:
        lacking = f", {status.to_segment:,} images lack one" if status.to_segment else ""
        again = ": run `brainpress segment`" if status.to_segment else ""
        lines.append(f"labels    {status.maps:,} label maps{lacking}{again}")
    if status.changed:
        lines.append(f"changed   {status.changed}: run `brainpress publish`")
    elif status.published:
        lines.append(f"published version {status.published}")
    return "\n".join([*lines, *_by_shard(status)])


def _finished(status: Status) -> str:
    if status.finished:
        return "yes"
    if status.shards_pending == 0:
        return "no, only the manifest is missing: run the same `generate` again"
    if status.at_work:
        return "no, it is being made"
    return "no, and nothing was committed lately: run the same `generate` again to go on"


def _by_shard(status: Status) -> list[str]:
    if status.by_shard is None:
        return []
    lines = ["", f"{'shard':>7}  {'samples':<15}  {'state':<8}{'done':>6}{'failed':>8}  committed"]
    for s in status.by_shard:
        samples = f"{s.first}-{s.last}"
        lines.append(
            f"{s.shard:>7}  {samples:<15}  {s.state:<8}{s.done:>6}{s.failed:>8}"
            f"  {s.committed or '-'}"
        )
    return lines


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("status"))
