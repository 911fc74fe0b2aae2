"""Opening a published release to strangers: what must not lie beside it, policy, address."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING

from manifests.errors import ReleaseError
from manifests.format.layout import RELEASE_KEY
from manifests.text import one_line

if TYPE_CHECKING:
    from manifests.query.release import Release
    from manifests.storage.base import Store
    from manifests.verify import Report

SHOWN = 10


def refuse_unlisted(release: Release) -> None:
    """What is below the prefix is open to everyone with it: only the release's own files may be.

    Of a folder, which nobody reads yet, it is only told.

    Raises:
        ReleaseError: files that are not of the release, by name (exit code 1).
    """
    from manifests.verify.orphans import unlisted

    found = unlisted(release)
    if not found:
        return
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    names = f"{', '.join(map(one_line, found[:SHOWN]))}{more}"
    if release.place.is_local:
        line = f"warning: not of the release, so do not copy along where anyone may read: {names}"
        print(line, file=sys.stderr)
        return
    from manifests.publish.strangers import anyone_reads
    from manifests.storage.s3.store import S3Store

    assert isinstance(release.place, S3Store)
    now = "; ANYONE CAN READ THEM NOW" if anyone_reads(release.place) else ""
    raise ReleaseError(
        f"{release.store.uri} holds {len(found):,} file{'' if len(found) == 1 else 's'} that"
        f" {'is' if len(found) == 1 else 'are'} not of the release, and would be open to everyone"
        f" with it: {names}{now}; move them out of that prefix, or use --private",
        exit_code=1,
    )


def warn_if_open(store: Store) -> None:
    """A line on stderr, where a release that was published privately is open all the same."""
    from manifests.publish.strangers import anyone_reads
    from manifests.storage.s3.store import S3Store

    assert isinstance(store, S3Store)
    if anyone_reads(store):
        print(
            f"warning: anyone can read {store.uri}, as it is; `brainpress unpublish` closes it",
            file=sys.stderr,
        )


def check_closed(release: Release, report: Report) -> None:
    """Ask as a stranger for a release that says that it is closed."""
    from manifests.publish.strangers import anyone_reads
    from manifests.storage.s3.store import S3Store

    published, store = release.document.published, release.place
    if published is None or published.closed is None or not isinstance(store, S3Store):
        return
    if anyone_reads(store):
        text = f"{published.closed.told} Yet anyone can read it; run `brainpress unpublish` again"
        report.error("closed-open", RELEASE_KEY, text)


def refuse_wildcards(store: Store) -> None:
    """Raise ReleaseError for a prefix in which a policy would see a wildcard."""
    from manifests.publish.statements import public_statements

    if not store.is_local:
        public_statements(store.bucket, store.prefix.rstrip("/"))  # type: ignore[attr-defined]


def open_release(store: Store, *, dry_run: bool, url: str | None, marked: bool = True) -> int:
    """Let strangers in, and say where.

    Args:
        marked: whether it says of itself that it is open, as a release does and shards do not.
    """
    from manifests.changes.lease import HeldError
    from manifests.publish.bucket_policy import BucketGate, PolicyError
    from manifests.publish.gate import let_in
    from manifests.publish.statements import public_statements
    from manifests.publish.strangers import check_strangers, public_address, why_closed
    from manifests.storage.s3.store import S3Store

    assert isinstance(store, S3Store)
    if dry_run:
        prefix = store.prefix.rstrip("/")
        statements = public_statements(store.bucket, prefix, partition=store.partition)
        print(f"the policy of bucket {store.bucket} would have, besides what it has:")
        print(json.dumps(statements, indent=2))
        return 0
    try:
        gate = BucketGate(store)
        changed = let_in(store, gate) if marked else gate.open()
        check_strangers(store)
    except HeldError as error:
        line = f"{store.uri} is published, and not opened to strangers yet: {error}"
        raise HeldError(line, exit_code=1) from error
    except PolicyError:
        if why_closed(store) is not None:
            raise
        changed = False  # somebody else opened it, who may
    now = "can now" if changed else "could already"
    print(f"anyone {now} list and read {store.uri}/: {url or public_address(store)}")
    print(f"for readers: brainpress info {shlex.join(store.words)}")
    return 0
