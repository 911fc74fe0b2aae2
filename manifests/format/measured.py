"""measured.parquet: what `evaluate` measured on each image, a table to join by index."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ReleaseError

MEASURED_VERSION = 1
METADATA_KEY = b"brainpress-measured"
PREFIX = "measured_"


@dataclass(frozen=True)
class Measure:
    """A column of the table, but for its prefix.

    Attributes:
        unit: UCUM, or year; "" of a probability.
        decimals: to which it is rounded; finer than what the tools can tell.
        shows: the covariate that it is to be held against, where the model has one.
    """

    name: str
    unit: str
    decimals: int
    description: str
    shows: str = ""


MEASURES = (
    Measure(
        "ventricular_volume",
        "mm3",
        1,
        "cerebrospinal fluid of the lateral ventricles, not normalised for head size",
        "ventricular_volume",
    ),
    Measure("brain_volume", "mm3", 1, "grey and white matter and brain stem, not normalised"),
    Measure("grey_volume", "mm3", 1, "grey matter"),
    Measure("white_volume", "mm3", 1, "white matter"),
    Measure("brain_stem_volume", "mm3", 1, "brain stem"),
    Measure("csf_volume", "mm3", 1, "cerebrospinal fluid but for the lateral ventricles"),
    Measure("intracranial_volume", "mm3", 1, "brain and cerebrospinal fluid"),
    Measure(
        "normalised_brain_volume",
        "mm3",
        1,
        "the same as measured_brain_volume, normalised for head size as the cohort's is",
        "brain_volume",
    ),
    Measure("age", "year", 2, "age that a regression reads from the image", "age"),
    Measure("male", "", 4, "probability, read from the image, that the person would be male"),
)


def measured_schema() -> pa.Schema:
    """The Arrow schema; fields carry unit, description, and the covariate that they show."""

    def field(name: str, kind: pa.DataType, *, null: bool = False, **about: str) -> pa.Field:
        metadata = {key: text for key, text in about.items() if text or key == "shows"}
        return pa.field(name, kind, nullable=null, metadata=metadata)

    fields = [
        field("index", pa.int64(), description="number of the sample, as in the manifest"),
        field("participant_id", pa.string(), description="BIDS key of the sample"),
        *(
            field(
                PREFIX + measure.name,
                pa.float64(),
                null=True,
                description=measure.description,
                unit=measure.unit,
                shows=measure.shows,
            )
            for measure in MEASURES
        ),
        field(
            "error",
            pa.string(),
            null=True,
            description="why the image could not be measured; else null",
        ),
    ]
    about = json.dumps({"version": MEASURED_VERSION}).encode()
    return pa.schema(fields, metadata={METADATA_KEY: about})


def measured_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of the table, sorted by index; figures are rounded, and null where there is an error.

    Args:
        rows: with the columns of `measured_schema`.

    Raises:
        ReleaseError: a row that says neither what was measured nor why it was not.
    """
    made = []
    for row in sorted(rows, key=lambda row: int(row["index"])):
        error = row["error"] or None
        plain = {**row, "error": error}
        for measure in MEASURES:
            value = row[PREFIX + measure.name]
            there = error is None and value is not None and math.isfinite(value)
            if error is None and not there:
                name = PREFIX + measure.name
                raise ReleaseError(f"{row['participant_id']}: {name} is {value}, and no error")
            plain[PREFIX + measure.name] = round(float(value), measure.decimals) if there else None
        made.append(plain)
    return pa.Table.from_pylist(made, schema=measured_schema())


def same_measures(found: pa.Schema) -> bool:
    """Whether a table has the columns of this version; words may be put better at times."""
    expected = measured_schema()
    version = (found.metadata or {}).get(METADATA_KEY)
    return version == (expected.metadata or {})[METADATA_KEY] and found.equals(expected)


def without(table: pa.Table, gone: Collection[int]) -> pa.Table:
    """The rows of the other samples; the table itself where none of those is in it."""
    kept = pc.invert(pc.is_in(table["index"], pa.array(sorted(gone), pa.int64())))
    return table if pc.all(kept).as_py() is not False else table.filter(kept)


def only(table: pa.Table, indices: pa.ChunkedArray) -> pa.Table:
    """The rows of those samples."""
    return table.filter(pc.is_in(table["index"], indices.combine_chunks()))


def beside(rows: pa.Table, figures: pa.Table, names: Iterable[str]) -> pa.Table:
    """Rows of a manifest with columns of another table, by index; null where it has no such row.

    Args:
        rows, figures: with the column index.
        names: of the columns that are wanted of `figures`.
    """
    places = pc.index_in(rows["index"], figures["index"].combine_chunks())
    found = figures.take(places)
    for name in names:
        rows = rows.append_column(figures.schema.field(name), found[name])
    return rows


def figures_of(schema: pa.Schema) -> list[str]:
    """The figures among the columns."""
    ours = {PREFIX + measure.name for measure in MEASURES}
    return [name for name in schema.names if name in ours]
