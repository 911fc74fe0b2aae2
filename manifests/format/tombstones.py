"""Samples withdrawn after their release: rows that stay and say why, without their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.layout import MODALITY, row_path
from manifests.format.schema import WITHDRAWN

IMAGE_COLUMNS = ("path", "bytes", "sha256")


def bury(table: pa.Table, reasons: Mapping[int, str]) -> pa.Table:
    """`table`, whose rows of those indices are tombstones: their status says so, and why.

    A row that is one already keeps its reason. What was asked of the sample stays.
    """
    chosen = pc.is_in(table["index"], pa.array(sorted(reasons), pa.int64()))
    new = pc.and_(chosen, pc.not_equal(table["status"], WITHDRAWN))
    if not pc.any(new).as_py():
        return table
    told = pa.array([reasons.get(index) for index in table["index"].to_pylist()], pa.string())
    replaced = {
        "status": pc.if_else(new, WITHDRAWN, table["status"]),
        "error": pc.if_else(new, told, table["error"]),
        **{
            name: pc.if_else(new, pa.scalar(None, table.schema.field(name).type), table[name])
            for name in IMAGE_COLUMNS
        },
    }
    for name, values in replaced.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), values)
    return table


def paths(table: pa.Table, suffixes: Sequence[str]) -> dict[int, str]:
    """Where the image of each of these rows lies, or lay before it was withdrawn, by index."""
    names = [name for name in ("index", MODALITY) if name in table.column_names]
    rows = table.select(names).to_pylist()
    return {row["index"]: row_path(row, suffixes) for row in rows}


def tombstones(table: pa.Table) -> dict[int, str]:
    """The withdrawn samples among these rows, and why.

    Args:
        table: with the columns index, status and error.
    """
    gone = table.filter(pc.equal(table["status"], WITHDRAWN))
    rows = zip(gone["index"].to_pylist(), gone["error"].to_pylist(), strict=True)
    return {index: reason or "" for index, reason in rows}
