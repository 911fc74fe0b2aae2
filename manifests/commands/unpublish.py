"""Close a release that was public: strangers are shut out, and the release says so.

Of a bucket, the two statements that `publish` added are taken out of its policy, and it is tried
whether a stranger is refused. README.md, page and release.json then say that it was unpublished,
when and why. Nothing is deleted; `publish` opens it again. What was downloaded before stays where
it is."""

from __future__ import annotations

import argparse
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from manifests.commands.shared import add_confirmation, add_release_to_change, confirmed
from manifests.errors import ReleaseError
from manifests.text import one_line

if TYPE_CHECKING:
    from manifests.publish.gate import Gate
    from manifests.storage.base import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release_to_change(parser)
    parser.add_argument("--reason", metavar="TEXT", default="", help="for readers; one line")
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="default: today, UTC")
    add_confirmation(parser)
    parser.epilog = (
        'example:\n  brainpress unpublish s3://bucket/release --reason "consent was withdrawn"'
    )


def run(args: argparse.Namespace) -> int:
    from manifests.format.published import check_date
    from manifests.storage import open_to_write
    from manifests.volumes.shard_index import read_index

    date = check_date(args.date or datetime.now(UTC).date().isoformat())
    store = open_to_write(args.release, endpoint_url=args.endpoint_url)
    if store.is_local:
        print(f"{store.uri} is a folder: its README.md and page are made to say that it is closed;")
        print("a copy in a bucket stays open until it is unpublished there")
    elif args.dry_run or not args.yes:
        print(f"strangers would be shut out of {store.uri}; its page and README.md would say so")
    if args.dry_run:
        _show_policy(store)
        return 0
    if not args.yes and not confirmed("unpublish", "Close it to everyone?"):
        return 1
    _close(store)  # whatever the release itself is like
    if read_index(store) is not None:
        return 0
    try:
        return _mark(store, date, one_line(args.reason))
    except ReleaseError as error:
        if store.is_local:
            raise
        raise ReleaseError(
            f"{error} (strangers are shut out; what could not be done is to say so in the release,"
            " so a `brainpress publish` may open it again: run the same command again)",
            exit_code=1,
        ) from error


def _show_policy(store: Store) -> None:
    from manifests.publish.bucket_policy import read_policy
    from manifests.publish.statements import without_public_read
    from manifests.storage.s3.store import S3Store

    if isinstance(store, S3Store):
        bucket, prefix = store.bucket, store.prefix.rstrip("/")
        where = {"bucket": bucket, "prefix": prefix, "partition": store.partition}
        has = without_public_read(read_policy(store, done=""), **where) is not None
        what = "would open it no more" if has else "has nothing that `publish` added for it"
        print(f"the policy of bucket {bucket} {what}")


def _gate(store: Store) -> Gate:
    from manifests.publish.bucket_policy import BucketGate
    from manifests.publish.gate import NoGate
    from manifests.storage.s3.store import S3Store

    return BucketGate(store) if isinstance(store, S3Store) else NoGate()


def _close(store: Store) -> None:
    from manifests.publish.strangers import check_closed
    from manifests.storage.s3.store import S3Store

    if not isinstance(store, S3Store):
        return
    changed = _gate(store).close()
    check_closed(store)
    print(
        f"{store.uri} {'is closed now' if changed else 'was closed already'}: strangers are refused"
    )


def _mark(store: Store, date: str, reason: str) -> int:
    from manifests.publish.closing import mark_closed
    from manifests.query.release import Release

    done = mark_closed(Release.at(store), date=date, reason=reason, gate=_gate(store))
    if done.mended:
        print(one_line(done.mended))
    if done.closed is None:
        print("it was never published, so nothing in it has to say so")
    elif done.written:
        print(f"{len(done.written):,} files say so: {', '.join(done.written[:6])}, ...")
        again = shlex.join(["brainpress", "publish", *store.words])
        print(f"  to open it again  {again}")
    else:
        print(f"it says so already: {done.closed.told}")
    return 0
