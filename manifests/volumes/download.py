"""Taking a release, or a part of it, to a local folder that is a checked BIDS dataset itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from manifests.errors import ReleaseError
from manifests.query.held import held
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from manifests.storage.threads import OnProgress
from manifests.volumes.images import choose, images_of, maps_of
from manifests.volumes.subset import staged_metadata
from manifests.volumes.taking import Downloaded, Taker
from manifests.volumes.there import Existing, judged, rows_already_there, withdrawn_since

__all__ = ["Downloaded", "Existing", "download"]

CONNECTIONS = 8


def download(
    release: Release,
    out: Path,
    *,
    where: str | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    existing: Existing = Existing.ERROR,
    connections: int = CONNECTIONS,
    on_progress: OnProgress | None = None,
) -> Downloaded:
    """Fetch the chosen images, check each, and write the metadata of the subset, release.json last.

    Of a segmented release their label maps come with them. The manifest is held against
    release.json first, so that no row is one that somebody changed.

    An image that is there with the right digest is not fetched again, so the same command run
    again goes on where it was interrupted or killed; with another choice it adds to what is there.

    Args:
        ids: participants, as sub-000001, 000001 or 1.
        limit: the first so many of those that match.

    Raises:
        ReleaseError: no such rows; a folder that holds something else; with `Existing.ERROR`, a
            file that is there and is not the release's, before anything is written unless it has
            an image's very size; a manifest that is not the one that release.json names.
    """
    target = open_store(out)
    if not isinstance(target, LocalStore):
        raise ReleaseError(f"{out}: `download` writes to a local folder")
    # What lies there already may be of any row, and has to be looked up.
    new = next(iter(target.list()), None) is None
    few = new and where is None
    with held(release, ids=ids if few else None, limit=limit if few else None) as checked:
        rows = choose(checked, where=where, ids=ids, limit=limit)
        return _download(checked, target, rows, existing, connections, on_progress)


def _download(
    release: Release,
    target: LocalStore,
    rows: pa.Table,
    existing: Existing,
    connections: int,
    on_progress: OnProgress | None,
) -> Downloaded:
    kept = rows_already_there(target, release, rows, existing)
    target.check_writable()
    wanted = images_of(rows, release.store.uri)
    taker = Taker(release.store, target, existing)
    report = Downloaded(withdrawn=withdrawn_since(release, kept))
    with staged_metadata(release, rows, kept) as metadata:
        others = metadata.of_others(target)
        report.skipped += judged(others, target, existing)
        maps = maps_of(metadata.release)
        taker.check([*wanted, *maps])
        taker.take(wanted, report, connections, on_progress)
        of_maps = Downloaded()
        if not report.not_tried:
            Taker(release.store, target, existing).take(maps, of_maps, connections, None)
        report.add_maps(of_maps)
        if not report.failed:
            metadata.write(target, but=report.skipped)
    target.sweep()
    return report
