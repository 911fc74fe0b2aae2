"""How the values of a column are spread, in a few words."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_LEVELS = 6  # of a column of texts that are all named


def spread(column: pa.ChunkedArray) -> str:
    """`20.1 to 79.4` of numbers, `F 52, M 48` of a few texts, else how many differ.

    >>> spread(pa.chunked_array([["F", "M", "F"]]))
    'F 2, M 1'
    """
    known = column.drop_null()
    if not len(known):
        return "no value"
    if pa.types.is_floating(known.type) or pa.types.is_integer(known.type):
        ends = pc.min_max(known).as_py()
        if ends["min"] == ends["max"]:
            return f"{ends['min']:.6g}"
        return f"{ends['min']:.6g} to {ends['max']:.6g}"
    counts = [(str(one["values"]), one["counts"]) for one in known.value_counts().to_pylist()]
    if len(counts) > _LEVELS:
        return f"{len(counts):,} different, such as {counts[0][0]}"
    return ", ".join(f"{value} {count:,}" for value, count in sorted(counts))
