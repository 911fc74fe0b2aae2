"""How much of a release is done: shards, samples and failures, as its storage tells.

Reads the storage alone, so it works from anywhere, while the release is being made or after. The
exit code is 0 when the release is finished, 1 when it is not."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from manifests.commands.shared import add_release, at_least_one

if TYPE_CHECKING:
    from manifests.ledger import Ledger
    from manifests.store import Store


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is stored of a release.

    Attributes:
        samples: asked for; None where nobody told.
        done, failed: samples in the ledger; how many of them have no image.
        shards, shards_done, shards_pending: None where `samples` is.
        finished: whether release.json stands and covers all that was asked for.
    """

    uri: str
    samples: int | None
    done: int
    failed: int
    shard_size: int
    shards: int | None
    shards_done: int | None
    shards_pending: int | None
    finished: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    parser.add_argument(
        "--n",
        type=at_least_one,
        metavar="N",
        help="samples that are wanted (default: what the last `generate` was asked for)",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.epilog = "example:\n  brainpress status s3://bucket/release"


def run(args: argparse.Namespace) -> int:
    from manifests.storage import open_store

    status = read_status(open_store(args.release), n=args.n)
    print(json.dumps(asdict(status), indent=2) if args.json else describe(status))
    return 0 if status.finished else 1


def read_status(store: Store, *, n: int | None = None) -> Status:
    """The state of the release in `store`, for `n` samples or as many as were asked for last.

    Raises:
        ReleaseError: no release was begun there.
    """
    from manifests.errors import ReleaseError
    from manifests.ledger import Ledger, ShardPlan
    from manifests.release import read_release

    ledger = Ledger(store)
    plan = ledger.plan()
    if plan is None:
        if _has_release(store):
            raise ReleaseError(f"{store.uri} is a downloaded part of a release: see `info`")
        raise ReleaseError(f"{store.uri}: no release was begun there; check the address")
    released = read_release(store)["counts"]["samples"] if _has_release(store) else None
    wanted = n or ledger.target() or released
    size = int(plan["shard_size"])
    done, failed = _count(ledger)
    shards = ShardPlan(wanted, size) if wanted else None
    complete = len(ledger.done(shards)) if shards else None
    return Status(
        uri=store.uri,
        samples=wanted,
        done=done,
        failed=failed,
        shard_size=size,
        shards=shards.count if shards else None,
        shards_done=complete,
        shards_pending=shards.count - complete if shards and complete is not None else None,
        finished=released is not None and wanted is not None and released >= wanted,
    )


def describe(status: Status) -> str:
    """The status for people, a few lines."""
    asked = "?" if status.samples is None else f"{status.samples:,}"
    lines = [
        f"release   {status.uri}",
        f"samples   {status.done:,} of {asked} done, {status.failed:,} of them failed",
    ]
    if status.shards is not None:
        lines.append(
            f"shards    {status.shards_done:,} of {status.shards:,} done,"
            f" {status.shards_pending:,} pending, {status.shard_size:,} samples each"
        )
    if status.finished:
        lines.append("finished  yes")
    elif status.shards_pending == 0:
        lines.append("finished  no, only the manifest is missing: run the same `generate` again")
    else:
        lines.append("finished  no: it is running, or run the same `generate` again to go on")
    return "\n".join(lines)


def _has_release(store: Store) -> bool:
    from manifests.layout import RELEASE_KEY

    try:
        store.get(RELEASE_KEY)
    except KeyError:
        return False
    return True


def _count(ledger: Ledger) -> tuple[int, int]:
    """Samples in the ledger's parts, and how many of them failed."""
    from manifests.ledger import in_threads
    from manifests.parquet import read_columns
    from manifests.schema import FAILED

    def statuses(key: str) -> list[str]:
        found: list[str] = read_columns(ledger.store, key, columns=["status"])["status"].to_pylist()
        return found

    parts = in_threads(statuses, [part.key for part in ledger.parts().values()])
    return sum(map(len, parts)), sum(part.count(FAILED) for part in parts)


if __name__ == "__main__":
    from ray_jobs.cli import script

    raise SystemExit(script("status"))
