"""Opening what lies in a bucket as it is: the mirror of a published release, a set of shards."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from manifests.commands.publishing.opening import SHOWN, open_release, refuse_unlisted
from manifests.commands.shared import Progress, print_findings
from manifests.errors import ReleaseError
from manifests.numbers import human_bytes
from manifests.text import one_line

if TYPE_CHECKING:
    from manifests.storage.base import Store
    from manifests.verify.findings import Report


def open_as_is(store: Store, *, dry_run: bool, connections: int, trusting: bool) -> int:
    """Check all of it, then let strangers in; nothing of it is written.

    Args:
        connections, trusting: as of `manifests.verify.verify`.

    Raises:
        ReleaseError: what was never published, or is not public any more; files beside it.
    """
    from manifests.query.release import Release
    from manifests.volumes.shard_index import read_index

    index = read_index(store)
    if index is not None:
        return _open_shards(store, index, dry_run=dry_run)
    from manifests.verify import verify

    release = Release.at(store)
    published = release.document.published
    _refuse_closed(store.uri, published is not None and published.closed is None)
    assert published is not None
    report = verify(
        release, connections=connections, trusting=trusting, on_progress=Progress("checked")
    )
    if not _sound(report):
        return 1
    refuse_unlisted(release)
    print(f"{report.images:,} images verified; version {published.last.version} as it is")
    print(f"SHA-256 of its release.json, for readers' --expect: {release.digest}")
    if release.place.is_local:
        return 0
    return open_release(release.place, dry_run=dry_run, url=None)


def _open_shards(store: Store, index: Mapping[str, Any], *, dry_run: bool) -> int:
    from manifests.digests import sha256
    from manifests.publish.strangers import public_address
    from manifests.verify.shards import verify_shards
    from manifests.volumes.shard_index import INDEX_KEY

    _refuse_closed(store.uri, bool(index.get("published")))
    report = verify_shards(store, index, on_progress=Progress("checked"))
    if not _sound(report):
        return 1
    if found := [finding.key for finding in report.findings if finding.code == "file-unlisted"]:
        names = one_line(", ".join(found[:SHOWN]))
        raise ReleaseError(
            f"{store.uri} holds files that are not of the shards, and would be open to everyone"
            f" with them: {names}; move them out of that prefix",
            exit_code=1,
        )
    print(f"{report.images:,} images verified ({human_bytes(report.image_bytes)})")
    digest = sha256(store.get(INDEX_KEY))
    print(f"SHA-256 of its {INDEX_KEY}, for readers' --expect: {digest}")
    if store.is_local:
        return 0
    page = public_address(store)  # type: ignore[arg-type]
    url = page.rpartition("/")[0] + "/README.md"
    return open_release(store, dry_run=dry_run, url=url, marked=False)


def _refuse_closed(uri: str, public: bool) -> None:
    if not public:
        raise ReleaseError(
            f"{uri} is of a release that was not published, or is public no more: run `brainpress"
            " publish` on that release first, and mirror it, or make its shards, again"
        )


def _sound(report: Report) -> bool:
    if report.ok:
        return True
    print_findings(report.findings)
    print(f"brainpress publish: {report.uri} does not verify; nothing was opened", file=sys.stderr)
    return False
