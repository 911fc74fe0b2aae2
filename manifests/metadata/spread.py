"""How the covariates of a release are spread, for its data card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.format.layout import MODALITY
from manifests.format.schema import OK, Column
from manifests.numbers import human_number
from manifests.text import markdown

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


def contrasts_there(manifest: Path, suffixes: Sequence[str]) -> tuple[str, ...]:
    """Of a release's contrasts those of which it has an image; all where it has none.

    Args:
        manifest: as of `spread_table`.
    """
    if len(suffixes) < 2:
        return tuple(suffixes)
    kept = pc.equal(_column(manifest, "status"), OK)
    there = set(pc.unique(_column(manifest, MODALITY).filter(kept)).to_pylist())
    return tuple(suffix for suffix in suffixes if suffix in there) or tuple(suffixes)


def spread_table(manifest: Path, columns: Sequence[Column]) -> str:
    """A Markdown table of the covariates of the images; "" where there are neither.

    Args:
        manifest: manifest.parquet on this machine, as this program has just written it.
    """
    if not columns:
        return ""
    kept = pc.equal(_column(manifest, "status"), OK)
    if not pc.any(kept).as_py():
        return ""
    lines = ["| column | least | 5 % | median | 95 % | greatest |", "|---|---|---|---|---|---|"]
    lines += [
        _numbers(c, _column(manifest, c.name).filter(kept))
        for c in columns
        if c.kind == "continuous"
    ]
    levels = [
        _levels(c, _column(manifest, c.name).filter(kept))
        for c in columns
        if c.kind == "categorical"
    ]
    return "\n\n".join(["\n".join(lines)] * (len(lines) > 2) + levels)


def _column(manifest: Path, name: str) -> pa.ChunkedArray:
    """One at a time, and text folded: a release may have a million rows."""
    return pq.read_table(manifest, columns=[name], read_dictionary=[name], use_threads=False)[name]


def _numbers(column: Column, values: pa.ChunkedArray) -> str:
    found = pc.quantile(values, q=list(QUANTILES)).to_pylist()
    unit = f" ({markdown(column.unit)})" if column.unit else ""
    cells = " | ".join("" if number is None else human_number(number) for number in found)
    return f"| {column.name}{unit} | {cells} |"


def _levels(column: Column, values: pa.ChunkedArray) -> str:
    counted = {item["values"]: item["counts"] for item in pc.value_counts(values).to_pylist()}
    told = [f"{markdown(level)} {counted.get(level, 0):,}" for level in column.levels]
    return f"{column.name}: {', '.join(told)}."
