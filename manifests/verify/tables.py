"""A table beside the manifest, or the manifest, as `verify` reads it, and whether it fits it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

import pyarrow as pa

from manifests.errors import ReleaseError
from manifests.format.parquet import table_from_bytes
from manifests.numbers import ranges
from manifests.storage.base import Store
from manifests.verify.documents import read_or_why
from manifests.verify.findings import Report


def read_table(
    store: Store,
    key: str,
    report: Report,
    *,
    kind: str,
    same: Callable[[pa.Schema], bool],
    other: str,
) -> pa.Table | None:
    """The table at `key`; None where it cannot be read or has other columns, which is told.

    What is not there, and what the storage refuses, is told of the files that release.json names.

    Args:
        kind: the first word of the codes of what is found: `-unreadable`, `-schema`.
        same: whether the columns are those that are expected.
        other: told where they are not.
    """
    data = read_or_why(store, key)
    if not isinstance(data, bytes):
        return None
    try:
        table = table_from_bytes(data, key)
    except ReleaseError as error:
        report.error(f"{kind}-unreadable", key, str(error))
        return None
    if not same(table.schema):
        report.error(f"{kind}-schema", key, other)
        return None
    return table


def check_indices(
    indices: Sequence[int], images: Collection[int], key: str, report: Report, *, kind: str
) -> None:
    """Tell where rows are not in order, each once, or of samples that have no image.

    Args:
        indices: of the rows. images: indices of the samples that can have one.
        kind: the first word of the codes: `-repeated`, `-sample`.
    """
    if any(later <= before for before, later in pairwise(indices)):
        report.error(f"{kind}-repeated", key, "its indices are not in order, each once")
    if strangers := sorted(set(indices) - set(images)):
        text = f"rows of samples that have no image here: {ranges(strangers)[:200]}"
        report.error(f"{kind}-sample", key, text)
