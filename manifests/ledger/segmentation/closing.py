"""The end of segmenting: the table of all maps, its BIDS derivative, and a release that tells it.

It is one change of `manifests.changes`, as `publish` and `withdraw` are. Before it no release.json
names a map; after it all are named, and the parts are gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.compute as pc

from manifests.changes.changing import Changing, changing
from manifests.changes.journal import SEGMENT
from manifests.errors import ReleaseError
from manifests.format.layout import MANIFEST_KEY, PARTICIPANTS_KEY
from manifests.format.segmentation.about import Segmentation
from manifests.format.segmentation.documents import segmentation_files
from manifests.format.segmentation.layout import MAPS_PREFIX, is_map, is_segmentation
from manifests.ledger.segmentation.progress import parts_there, rows_there, t1w_images
from manifests.metadata.bids import is_document
from manifests.metadata.staging import Staged, stage
from manifests.query.held import take
from manifests.query.release import Release
from manifests.storage.base import Store

WAIT_SECONDS = 600.0  # for a publish or a withdraw that is under way
_ROW_FILES = (MANIFEST_KEY, PARTICIPANTS_KEY)


@dataclass(frozen=True, kw_only=True)
class Closed:
    """What a release has now.

    Attributes:
        maps: images with a label map.
        map_bytes: their size.
        refused: why images have none, by participant_id.
        published: whether the release was published before, and so has a version without them.
    """

    maps: int
    map_bytes: int
    refused: dict[str, str]
    published: bool


def close_segmentation(store: Store, told: Segmentation, *, software_version: str) -> Closed:
    """Name every label map in the release; doing it again writes the same.

    Args:
        software_version: of the brainpress that drew the maps.

    Raises:
        HeldError: somebody else changes the release, for longer than `WAIT_SECONDS`.
        ReleaseError: an image has no row yet (exit code 1), or the storage refuses.
    """
    with changing(store, SEGMENT, wait_seconds=WAIT_SECONDS) as work:
        return _close(work, told, software_version)


def drop_segmentation(store: Store) -> None:
    """Take all label maps out of a release, so that none is overwritten that release.json names.

    Raises:
        HeldError: somebody else changes the release, for longer than `WAIT_SECONDS`.
        ReleaseError: the storage refuses.
    """
    with changing(store, SEGMENT, wait_seconds=WAIT_SECONDS) as work:
        release = Release.at(work.store)
        if release.document.segmentation is None:
            return
        with _staged(release, None, {}) as staged:
            gone = [entry.key for entry in store.list(MAPS_PREFIX) if is_map(entry.key)]
            gone += [*filter(is_segmentation, release.about["files"]), *parts_there(store)]
            files = _changed(release, staged)
            work.commit(SEGMENT, files, staged.release_json, removed=sorted(gone))


def _changed(release: Release, staged: Staged) -> dict[str, bytes | Path]:
    there, new = release.about["files"], staged.about["files"]
    return {key: data for key, data in staged.files.items() if there.get(key) != new[key]}


def _close(work: Changing, told: Segmentation, software_version: str) -> Closed:
    store, release = work.store, Release.at(work.store)
    images = t1w_images(release)
    rows = rows_there(release, told, images)
    if lacking := images.num_rows - rows.num_rows:
        raise ReleaseError(
            f"{store.uri}: {lacking:,} of {images.num_rows:,} images are not segmented yet; run"
            " the same command again",
            exit_code=1,
        )
    told = replace(told, images=images.num_rows)
    made = segmentation_files(
        told, rows, name=release.document.name, software_version=software_version
    )
    with _staged(release, told, made) as staged:
        there, new = release.about["files"], staged.about["files"]
        named = set(rows["path"].to_pylist())
        left = [entry.key for entry in store.list(MAPS_PREFIX)]
        stale = [key for key in left if is_map(key) and key not in named]
        removed = sorted({*parts_there(store), *stale, *(set(there) - set(new))})
        work.commit(SEGMENT, _changed(release, staged), staged.release_json, removed=removed)
    failed = rows.filter(pc.is_valid(rows["error"]))
    names = zip(failed["participant_id"].to_pylist(), failed["error"].to_pylist(), strict=True)
    return Closed(
        maps=rows.num_rows - failed.num_rows,
        map_bytes=pc.sum(rows["bytes"]).as_py() or 0,
        refused=dict(names),
        published=release.document.published is not None,
    )


@contextmanager
def _staged(
    release: Release, told: Segmentation | None, made: Mapping[str, bytes]
) -> Iterator[Staged]:
    """The files of the release with these of its label maps; all else stays as it is."""
    about, document = release.about, replace(release.document, segmentation=told)
    kept = {
        key: digest
        for key, digest in about["files"].items()
        if key not in _ROW_FILES and not is_document(key) and not is_segmentation(key)
    }
    with TemporaryDirectory(prefix="brainpress-") as folder:
        large = {key: Path(folder, key) for key in _ROW_FILES}
        for key, path in large.items():
            take(release, key, path, about["files"][key])
        yield stage(
            document,
            large,
            about["counts"],
            extra=made,
            kept=kept,
            shard_size=about["shard_size"],
            parts=about["parts"],
        )
