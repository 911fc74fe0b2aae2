"""Which images of a release have their label map, as its storage tells, and which lack one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import MODALITY, T1W
from manifests.format.parquet import (
    MOST_PART_BYTES,
    parquet_bytes,
    read_columns,
    table_from_bytes,
)
from manifests.format.schema import OK
from manifests.format.segmentation.about import Segmentation
from manifests.format.segmentation.layout import (
    MAPS_PREFIX,
    PARTS_PREFIX,
    labels_block_of,
    labels_part_key,
    map_path,
)
from manifests.format.segmentation.table import (
    is_regions,
    of_images,
    regions_schema,
    regions_table,
    same_regions,
)
from manifests.query.release import Release
from manifests.storage.base import Store
from manifests.storage.threads import in_threads

BLOCK_IMAGES = 8  # committed at once: what a worker that dies loses of its work


@dataclass(frozen=True, kw_only=True)
class Block:
    """Images that are segmented and committed together.

    Attributes:
        number: of the block; its images are those of fixed indices, whoever asks.
        images: rows of the manifest: index, participant_id, path, bytes, sha256.
    """

    number: int
    images: list[dict[str, Any]]


def t1w_images(release: Release) -> pa.Table:
    """The images that can have a label map: index, participant_id, path, bytes, sha256.

    Raises:
        ReleaseError: the release has no T1w images.
    """
    suffixes = release.document.suffixes
    if T1W not in suffixes:
        raise ReleaseError(
            f"{release.store.uri} has {' and '.join(suffixes)} images: label maps are drawn of"
            f" {T1W} images alone"
        )
    several = f" and {MODALITY} = '{T1W}'" if len(suffixes) > 1 else ""
    columns = ["index", "participant_id", "path", "bytes", "sha256"]
    return release.query(f"status = '{OK}'{several}", columns=columns)


def rows_there(release: Release, told: Segmentation, images: pa.Table) -> pa.Table:
    """The rows of the images that are as they were segmented, by this tool, in order.

    Those of the table that release.json names, and those of the parts that were committed since;
    but none whose map is lost, as the storage's listing tells.

    Args:
        images: as of `t1w_images`.
    """
    tables = in_threads(partial(_part, told), _stored_parts(release.store))
    if is_by(release, told):
        tables.append(release.regions())
    empty = regions_schema(told).empty_table()
    found = of_images(pa.concat_tables([empty, *tables]).combine_chunks(), images)
    first = pc.index_in(pc.unique(found["index"]), found["index"].combine_chunks())
    rows = found.take(first).sort_by("index")
    sizes = {entry.key: entry.size for entry in release.store.list(MAPS_PREFIX)}
    stored = zip(rows["path"].to_pylist(), rows["bytes"].to_pylist(), strict=True)
    return rows.filter(pa.array([sizes.get(key) == size for key, size in stored], pa.bool_()))


def is_by(release: Release, told: Segmentation) -> bool:
    """Whether the release's label maps are of this tool, and tell the same regions."""
    before = release.document.segmentation
    if before is None or not release.is_segmented:
        return False
    return (before.fingerprint, before.regions) == (told.fingerprint, told.regions)


def pending(release: Release, told: Segmentation, *, read: bool = False) -> list[Block]:
    """The images without a row, in their blocks; none where all are done.

    Args:
        read: also those whose map is not as it was written; every map is read for it.
    """
    images = t1w_images(release)
    rows = rows_there(release, told, images)
    rows = rows.filter(_as_written(release.store, rows)) if read else rows
    done = rows["index"].combine_chunks()
    left = images.filter(pc.invert(pc.is_in(images["index"], done)))
    blocks: dict[int, list[dict[str, Any]]] = {}
    for image in left.to_pylist():
        blocks.setdefault(image["index"] // BLOCK_IMAGES, []).append(image)
    return [Block(number=number, images=blocks[number]) for number in sorted(blocks)]


def _as_written(store: Store, rows: pa.Table) -> pa.Array:
    """Of each row, whether its map has its SHA-256; of an image that was refused, true."""

    def holds(row: tuple[str | None, str | None]) -> bool:
        path, digest = row
        try:
            return path is None or sha256(store.get(path)) == digest
        except KeyError:
            return False

    stored = zip(rows["path"].to_pylist(), rows["sha256"].to_pylist(), strict=True)
    return pa.array(in_threads(holds, stored), pa.bool_())


def count_maps(release: Release) -> tuple[int, int] | tuple[None, None]:
    """How many images have a label map, and how many lack one; None where nobody began to make any.

    An image that was refused lacks none: another try would say the same.
    """
    parts = [table_from_bytes(data, name) for name, data in _stored_parts(release.store)]
    tables = [part for part in parts if is_regions(part.schema)]
    if release.is_segmented:
        tables.append(release.regions(columns=_COUNTED))
    if not tables or T1W not in release.document.suffixes:
        return None, None
    images = t1w_images(release)
    rows = of_images(pa.concat_tables([table.select(_COUNTED) for table in tables]), images)
    mapped = rows.filter(pc.is_null(rows["error"]))
    done = len(pc.unique(rows["index"]))
    return len(pc.unique(mapped["index"])), images.num_rows - done


_COUNTED = ["index", "image_sha256", "error"]


def commit(store: Store, block: int, rows: Iterable[Mapping[str, Any]], told: Segmentation) -> None:
    """Keep the rows of a block, after its maps are stored; a row of the same image stays once.

    Raises:
        ReleaseError: the part that is there is damaged, or the storage refuses.
    """
    key, new = labels_part_key(block), regions_table(rows, told)
    while True:
        try:
            data, etag = store.get_with_etag(key, most=MOST_PART_BYTES)
        except KeyError:
            if store.put_if_absent(key, parquet_bytes(new)):
                return
            continue
        there = table_from_bytes(data, f"{store.uri}/{key}")
        whole = _joined(there, new) if same_regions(there.schema, told) else new
        if whole.equals(there) or store.replace(key, parquet_bytes(whole), etag=etag):
            return


def parts_there(store: Store) -> list[str]:
    """Keys of the parts that are there."""
    found = [entry.key for entry in store.list(PARTS_PREFIX)]
    return [key for key in found if labels_block_of(key) is not None]


def left_of(store: Store, gone: Collection[int]) -> list[str]:
    """Keys of the label maps that are there of those samples, and of parts that tell of them."""
    if not gone:
        return []
    maps = [map_path(index) for index in sorted(gone)]
    there = [key for key, found in zip(maps, in_threads(store.look, maps), strict=True) if found]

    def tells(key: str) -> bool:
        indices = read_columns(store, key, columns=["index"])["index"].to_pylist()
        return not set(gone).isdisjoint(indices)

    parts = parts_there(store)
    told = in_threads(tells, parts)
    return there + [key for key, tells_of_them in zip(parts, told, strict=True) if tells_of_them]


def _stored_parts(store: Store) -> list[tuple[str, bytes]]:
    def read(key: str) -> tuple[str, bytes] | None:
        try:
            return f"{store.uri}/{key}", store.get(key, most=MOST_PART_BYTES)
        except KeyError:  # taken in meanwhile, by somebody else's close
            return None

    return [part for part in in_threads(read, parts_there(store)) if part is not None]


def _part(told: Segmentation, part: tuple[str, bytes]) -> pa.Table:
    """The rows of a part; none of one by another tool."""
    name, data = part
    table = table_from_bytes(data, name)
    return table if same_regions(table.schema, told) else regions_schema(told).empty_table()


def _joined(there: pa.Table, new: pa.Table) -> pa.Table:
    others = pc.invert(pc.is_in(there["index"], new["index"].combine_chunks()))
    return pa.concat_tables([there.filter(others), new]).sort_by("index").combine_chunks()
