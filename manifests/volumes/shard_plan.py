"""Which sample lies where in which tar shard: a pure function of the manifest rows and a seed."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from manifests.format.json_text import json_bytes
from manifests.format.layout import participant_id
from manifests.volumes.images import Image, images_of

BLOCK = 512  # bytes; of tar
END = 2 * BLOCK  # zeros, which end an archive
BATCH_ROWS = 4_096


@dataclass(frozen=True)
class Sample:
    """One sample of a shard; offsets are of the content, from the shard's first byte."""

    key: str
    index: int
    image: Image
    json: bytes
    offset: int
    json_offset: int


@dataclass(frozen=True)
class TarPlan:
    """How the chosen rows are cut into shards.

    Attributes:
        rows: shuffled, in the order in which they are written.
        starts: the first row of each shard, and behind the last the number of rows.
        sizes: of each shard, in bytes.
        uri: of the release, for messages.
    """

    rows: pa.Table
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    uri: str

    @property
    def count(self) -> int:
        return len(self.sizes)

    def samples(self, shard: int) -> Iterator[Sample]:
        """The samples of a shard in their order."""
        at = 0
        for row, image in _read(self.rows, self.starts[shard], self.starts[shard + 1], self.uri):
            text = json_bytes(row)
            offset = at + BLOCK
            json_offset = offset + padded(image.bytes) + BLOCK
            at = json_offset + padded(len(text))
            key = participant_id(row["index"])
            yield Sample(key, row["index"], image, text, offset, json_offset)


def plan_shards(rows: pa.Table, *, size: int, seed: int, uri: str) -> TarPlan:
    """Shuffle the rows and cut them into shards of nearly the same size, about `size` bytes.

    A shard is no larger than `size` and one sample. The order is that of the rows by a number drawn
    for each, so a shard is a random sample of the rows.
    """
    order = np.random.default_rng(seed).permutation(rows.num_rows)
    rows = rows.take(pa.array(order)).combine_chunks()
    taken = np.fromiter(
        (
            2 * BLOCK + padded(image.bytes) + padded(len(json_bytes(row)))
            for row, image in _read(rows, 0, rows.num_rows, uri)
        ),
        np.int64,
        rows.num_rows,
    )
    ends = np.cumsum(taken)
    count = max(1, min(-(-int(ends[-1]) // size), rows.num_rows))
    marks = ends[-1] * np.arange(1, count) / count  # a shard ends with the sample that crosses one
    starts = np.unique([0, *(np.searchsorted(ends, marks) + 1), rows.num_rows])
    sums = np.add.reduceat(taken, starts[:-1])
    return TarPlan(
        rows=rows,
        starts=tuple(int(start) for start in starts),
        sizes=tuple(int(number) + END for number in sums),
        uri=uri,
    )


def tar_header(name: str, size: int) -> bytes:
    """A file's header in a tar archive: nobody's, of 1970, so that no clock shapes the bytes."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)


def padded(size: int) -> int:
    """`size`, rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def _read(
    rows: pa.Table, start: int, stop: int, uri: str
) -> Iterator[tuple[dict[str, Any], Image]]:
    """Rows and their images, few at a time as Python's objects."""
    for first in range(start, stop, BATCH_ROWS):
        batch = rows.slice(first, min(BATCH_ROWS, stop - first))
        yield from zip(batch.to_pylist(), images_of(batch, uri), strict=True)
