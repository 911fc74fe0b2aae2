"""Few rows of a release, from the parts that hold them: a million others are not fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.layout import index_of
from manifests.format.parquet import MOST_PART_BYTES, table_from_bytes
from manifests.format.schema import OK, same_columns
from manifests.query.release import Release
from manifests.storage.threads import in_threads

SHARE = 4  # a fourth of the parts takes as many requests as make the whole manifest the better way


def few_rows(
    release: Release, *, ids: Sequence[str] | None = None, limit: int | None = None
) -> pa.Table | None:
    """Rows among which are those of `ids`, or the first `limit` that have an image.

    Each part is one that release.json vouches for, by its SHA-256. None where the whole manifest
    has to be read: it is small, most of it is asked for, it is of an earlier version or of a
    downloaded part, or a part is not as release.json says (which the whole manifest may be).
    """
    parts, about = release.about["parts"], release.about
    most = len(parts) // SHARE
    if not most or about.get("opened_version") or about.get("source") or not (ids or limit):
        return None
    if ids:
        numbers = _parts_of(ids, [part["rows"] for part in parts])
        few = None if len(numbers) > most else in_threads(_fetcher(release), numbers)
        return _together(few)
    fetch, tables, count = _fetcher(release), [], 0
    for number in range(most):
        tables.append(table := fetch(number))
        if table is None:
            return None
        count += pc.sum(pc.equal(table["status"], OK)).as_py() or 0
        if limit and count >= limit:
            return _together(tables)
    return None


def _parts_of(ids: Sequence[str], rows: Sequence[int]) -> list[int]:
    """Numbers of the parts that hold the samples of these names; one that is none is in none."""
    ends = list(accumulate(rows))
    found = [index for text in ids if (index := index_of(text)) is not None and index < ends[-1]]
    return sorted({int(number) for number in np.searchsorted(ends, found, side="right")}) or [0]


def _fetcher(release: Release) -> Any:
    def fetch(number: int) -> pa.Table | None:
        part: Mapping[str, Any] = release.about["parts"][number]
        try:
            data = release.store.get(part["key"], most=MOST_PART_BYTES)
            if sha256(data) != part["sha256"]:
                return None
            table = table_from_bytes(data, part["key"])
        except StorageError:
            raise
        except (KeyError, ReleaseError):
            return None
        return table if same_columns(table.schema, release.schema) else None

    return fetch


def _together(tables: Sequence[pa.Table | None] | None) -> pa.Table | None:
    whole = [table for table in tables or [] if table is not None]
    if not tables or len(whole) < len(tables):
        return None
    return pa.concat_tables(whole)
