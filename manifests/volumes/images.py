"""The images that a reader wants of a release: which rows, where each lies, checked bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import DIGEST, sha256
from manifests.errors import ReleaseError
from manifests.format.layout import (
    CONTRASTS,
    MANIFEST_KEY,
    MOST_IMAGE_BYTES,
    image_path,
    index_of,
    participant_id,
)
from manifests.format.measured import only
from manifests.format.schema import OK
from manifests.format.segmentation.layout import REGIONS_KEY, map_path
from manifests.format.segmentation.table import of_images
from manifests.query.release import Release
from manifests.storage.base import Chunk, Store

BATCH_ROWS = 4_096
ATTEMPTS = 2  # of an image whose digest is wrong: once more, in case it broke on the way


class WrongDigestError(ReleaseError):
    """Not the bytes that the manifest names."""


@dataclass(frozen=True, slots=True)
class Image:
    """Where an image lies in its release, and what it must be."""

    path: str
    bytes: int
    sha256: str


def choose(
    release: Release,
    *,
    where: str | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
) -> pa.Table:
    """The manifest rows of the images asked for; failed samples have none.

    Args:
        ids: participants, as sub-000001, 000001 or 1.
        limit: the first so many of those that match.

    Raises:
        ReleaseError: no such rows.
    """
    rows = release.query(where)
    rows = rows.filter(pc.equal(rows["status"], OK))
    if ids is not None:
        keys = [_participant(text) for text in ids]
        unknown = sorted(set(keys) - set(rows["participant_id"].to_pylist()))
        if unknown:
            among = " among the rows that match" if where else ""
            raise ReleaseError(
                f"no image of {', '.join(unknown[:5])}{among} in {release.store.uri}"
            )
        rows = rows.filter(pc.is_in(rows["participant_id"], pa.array(keys, pa.string())))
    if limit:
        rows = rows.slice(0, limit)
    if rows.num_rows == 0:
        raise ReleaseError(f"no image of {release.store.uri} matches; try the filter with `query`")
    return rows


def images_of(rows: pa.Table, uri: str) -> list[Image]:
    """What to fetch; each lies where the format puts it, whatever else the manifest says.

    Raises:
        ReleaseError: a row that names another place, no digest or an absurd size (exit code 1).
    """
    images = []
    for batch in rows.select(["index", "path", "bytes", "sha256"]).to_batches(BATCH_ROWS):
        for index, path, size, digest in zip(*batch.to_pydict().values(), strict=True):
            place = f"{uri}/{MANIFEST_KEY}: sample {index}"
            if not _is_of(path, index):
                found, expected = ascii(path)[:200], image_path(index)
                raise ReleaseError(f"{place} lies at {found}, expected {expected!r}", exit_code=1)
            if not DIGEST.fullmatch(digest or "") or not 0 < (size or 0) <= MOST_IMAGE_BYTES:
                raise ReleaseError(
                    f"{place} has {size} bytes and SHA-256 {ascii(digest)[:80]};"
                    f" expected a digest, and 1 to {MOST_IMAGE_BYTES:,} bytes",
                    exit_code=1,
                )
            images.append(Image(path, size, digest))
    return images


def maps_of(release: Release, indices: pa.ChunkedArray | None = None) -> list[Image]:
    """The label maps to fetch, of those samples or of all; none of a release that has none.

    Raises:
        ReleaseError: a row that names another place, no digest or an absurd size (exit code 1).
    """
    if not release.is_segmented:
        return []
    rows = release.regions(columns=["index", "path", "bytes", "sha256"])
    if indices is not None:
        rows = only(rows, indices)
    return [
        _map(row, release.store.uri) for row in rows.filter(pc.is_valid(rows["path"])).to_pylist()
    ]


def labelled(
    release: Release, rows: pa.Table, limit: int | None, *, all_of_them: bool = False
) -> tuple[pa.Table, dict[str, Image]]:
    """Those of the rows that have a label map, at most so many, and each map by its image's path.

    Raises:
        ReleaseError: the release has no label maps, or none of these rows, or not of all of them
            where that is asked.
    """
    _ = release.regions_schema  # or it says that there are none
    known = release.regions(columns=["index", "image_sha256", "path"])
    known = of_images(known.filter(pc.is_valid(known["path"])), rows)
    mapped = only(rows, known["index"])
    if all_of_them and (lacking := rows.num_rows - mapped.num_rows):
        raise ReleaseError(f"{lacking:,} of these images of {release.store.uri} have no label map")
    rows = mapped.slice(0, limit) if limit else mapped
    if rows.num_rows == 0:
        raise ReleaseError(
            f"no image of {release.store.uri} that matches has a label map; `brainpress segment`"
            " makes those that are missing"
        )
    maps = maps_of(release, rows["index"])
    return rows, dict(zip(rows["path"].to_pylist(), maps, strict=True))


def _map(row: Mapping[str, Any], uri: str) -> Image:
    place, size = f"{uri}/{REGIONS_KEY}: sample {row['index']}", row["bytes"]
    if row["path"] != map_path(row["index"]):
        found, expected = ascii(row["path"])[:200], map_path(row["index"])
        raise ReleaseError(f"{place} has its map at {found}, expected {expected!r}", exit_code=1)
    if not DIGEST.fullmatch(row["sha256"] or "") or not 0 < (size or 0) <= MOST_IMAGE_BYTES:
        raise ReleaseError(
            f"{place} has a map of {size} bytes and SHA-256 {ascii(row['sha256'])[:80]}; expected"
            f" a digest, and 1 to {MOST_IMAGE_BYTES:,} bytes",
            exit_code=1,
        )
    return Image(row["path"], size, row["sha256"])


def _is_of(path: str | None, index: int) -> bool:
    """Whether this is where the format puts an image of that sample."""
    suffix = (path or "").rpartition("_")[2].removesuffix(".nii.gz")
    return suffix in CONTRASTS and path == image_path(index, suffix)


def fetch(store: Store, image: Image, *, stopped: Callable[[], bool] = lambda: False) -> bytes:
    """The bytes of an image, which are those that the manifest names.

    Raises:
        KeyError: it is missing.
        ReleaseError: its digest is another, also when fetched again (exit code 1).
    """
    found = ""
    for _ in range(ATTEMPTS):
        if stopped():
            break
        data = store.get(image.path, most=image.bytes)
        found = sha256(data)
        if found == image.sha256:
            return data
    raise ReleaseError(f"its SHA-256 is {found}, the manifest says {image.sha256}", exit_code=1)


def fetch_chunks(store: Store, image: Image) -> Iterator[Chunk]:
    """The bytes of an image in pieces; the last thing is whether they were the right ones.

    Raises:
        KeyError: it is missing.
        WrongDigestError: after all bytes.
        ReleaseError: it cannot be read.
    """
    digest = hashlib.sha256()
    for chunk in store.get_chunks(image.path, most=image.bytes):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != image.sha256:
        raise WrongDigestError(
            f"its SHA-256 is {digest.hexdigest()}, the manifest says {image.sha256}", exit_code=1
        )


def _participant(text: str) -> str:
    index = index_of(text)
    return text if index is None else participant_id(index)
