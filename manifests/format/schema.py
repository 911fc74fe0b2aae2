"""The manifest's columns: which covariates and quality figures a row carries, and their meaning."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from manifests.errors import ReleaseError
from manifests.format.json_text import parse_json
from manifests.text import is_plain

SCHEMA_VERSION = 1
METADATA_KEY = b"brainpress"
OK, FAILED, WITHDRAWN = "ok", "failed", "withdrawn"
QUALITY_PREFIX = "quality_"
SCALED_SUFFIX = "_scaled"
ONE_HOT = "one-hot"
MADE_ON = "made_on"

Kind = Literal["continuous", "categorical"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a calibrated model is told in place of a covariate: constant + sum of weight x input.

    Attributes:
        constant: scaled, 0 to 1 over the covariate's range, as what is told is.
        weights: by the model's inputs: a covariate's scaled value by its name, or `name=level` of
            one that is one-hot, 1 for the level asked and 0 for the others.
    """

    constant: float
    weights: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        return {"constant": self.constant, "weights": dict(self.weights)}

    @classmethod
    def from_json(cls, document: Any) -> Told:
        """Raises ReleaseError where it is none."""
        weights = document.get("weights") if isinstance(document, dict) else None
        if not isinstance(weights, dict) or not all(
            type(number) in (int, float) and math.isfinite(number)
            for number in (document.get("constant"), *weights.values())
        ):
            raise ReleaseError(
                f"what is told of a column is {ascii(document)[:60]}, expected a constant and "
                "weights, all finite numbers"
            )
        return cls(
            constant=float(document["constant"]),
            weights=tuple((name, float(number)) for name, number in weights.items()),
        )


@dataclass(frozen=True, kw_only=True)
class Column:
    """A covariate or a quality figure, as told to whoever reads the release.

    Attributes:
        name: lower case, digits and underscores.
        unit: UCUM, such as "a" (year) or "mm3"; "" where there is none.
        kind: whether its values are numbers or one of `levels`.
        levels: of a categorical one, in the order that scales them from 0 to 1.
        coding: how the model receives a categorical one: "one-hot", an input a level; else one
            number, the levels evenly spread over 0 to 1.
        minimum, maximum: of a continuous one, in `unit`: the range the model was trained on, which
            scales to 0 and 1. None where there is no such range, as for quality figures.
        description: one sentence for a reader who knows MRI.
        told: what the model is told in its place; None where that is what is asked, and of
            releases that do not tell.
    """

    name: str
    unit: str = ""
    kind: Kind = "continuous"
    levels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""
    coding: str = ""
    told: Told | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", self.name):
            name = ascii(self.name)[:60]
            raise ReleaseError(f"column {name}: expected lower case, digits and underscores")
        for text in (self.unit, self.description, *self.levels):
            if not is_plain(text):
                raise ReleaseError(f"column {self.name}: {text!a:.60} has control characters")
        if self.kind not in ("continuous", "categorical"):
            raise ReleaseError(
                f"column {self.name}: kind {self.kind!r:.60} is neither continuous nor categorical"
            )
        if self.kind == "categorical" and not self.levels:
            raise ReleaseError(f"column {self.name}: a categorical column needs levels")
        if len(set(self.levels)) != len(self.levels):
            levels = str(self.levels)[:80]
            raise ReleaseError(f"column {self.name}: levels {levels} are not distinct")
        if self.coding not in ("", ONE_HOT, "ordered") or (self.coding and not self.levels):
            raise ReleaseError(
                f"column {self.name}: coding {self.coding!a:.60}, expected {ONE_HOT} or ordered, "
                "and levels"
            )
        low, high = self.minimum, self.maximum
        if not all(math.isfinite(end) for end in (low, high) if end is not None):
            raise ReleaseError(f"column {self.name}: its range {low} to {high} is not finite")
        if low is not None and high is not None and not low < high:
            raise ReleaseError(f"column {self.name}: minimum {low} is not below maximum {high}")

    def scaled(self, value: Any) -> float | None:
        """What stands beside a value in the column of scaled ones; None where that is not known.

        The share of the way along the range, or along the levels. One-hot, where the model receives
        a 1 for one level and 0 for the others: the number of that level, from 0.

        Raises:
            ValueError: no such level.
        """
        if self.kind == "categorical":
            place = self.levels.index(value)
            return float(place) if self.coding == ONE_HOT else place / max(1, len(self.levels) - 1)
        if self.minimum is None or self.maximum is None:
            return None
        return float((value - self.minimum) / (self.maximum - self.minimum))

    @property
    def arrow_type(self) -> pa.DataType:
        return pa.float64() if self.kind == "continuous" else pa.string()

    def to_json(self) -> dict[str, Any]:
        """Only what is set, so that a reader is not told about nothing."""
        document: dict[str, Any] = {"name": self.name, "unit": self.unit, "kind": self.kind}
        if self.levels:
            document["levels"] = list(self.levels)
        if self.minimum is not None:
            document["minimum"] = self.minimum
        if self.maximum is not None:
            document["maximum"] = self.maximum
        if self.coding:
            document["coding"] = self.coding
        document["description"] = self.description
        if self.told:
            document["told"] = self.told.to_json()
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Column:
        """The inverse of `to_json`.

        Raises:
            ReleaseError: a field that is missing, of another kind, or wrong.
        """
        fields: dict[str, Any] = {
            "name": document.get("name"),
            "unit": document.get("unit", ""),
            "kind": document.get("kind", "continuous"),
            "levels": document.get("levels", []),
            "description": document.get("description", ""),
            "coding": document.get("coding", ""),
        }
        for name, value in fields.items():
            texts = value if name == "levels" else [value]
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ReleaseError(f"a column's {name} is {ascii(value)[:60]}, expected text")
        for name in ("minimum", "maximum"):
            fields[name] = end = document.get(name)
            if isinstance(end, bool) or not isinstance(end, (int, float, type(None))):
                raise ReleaseError(f"a column's {name} is {ascii(end)[:60]}, expected a number")
        told = document.get("told")
        fields["told"] = None if told is None else Told.from_json(told)
        return cls(**{**fields, "levels": tuple(fields["levels"])})


def manifest_schema(
    columns: Sequence[Column], quality: Sequence[Column] = (), *, made_on: bool = False
) -> pa.Schema:
    """The Arrow schema of a manifest with these covariates and quality figures.

    Fields carry unit and description; the schema carries its version and the columns themselves.

    Args:
        made_on: whether rows tell what they were computed on; those of older releases do not.

    Raises:
        ReleaseError: a name that is taken.
    """
    fields = [
        _field("index", pa.int64(), "number of the sample within the release, from 0"),
        _field("participant_id", pa.string(), "BIDS key of the sample"),
        _field("path", pa.string(), "image, relative to the release; null if none", null=True),
        _field("bytes", pa.int64(), "size of the image file", "By", null=True),
        _field("sha256", pa.string(), "SHA-256 of the image file, hexadecimal", null=True),
    ]
    for column in columns:
        fields.append(_field(column.name, column.arrow_type, column.description, column.unit))
        text = f"{column.name} as given to the model: 0 and 1 are the ends of its range"
        if column.coding == ONE_HOT:
            text = (
                f"{column.name} as given to the model, an input a level: the number of the level "
                "whose input is 1, counted from 0; the others are 0"
            )
        fields.append(_field(column.name + SCALED_SUFFIX, pa.float64(), text))
    fields += [
        _field(
            "extrapolated",
            pa.bool_(),
            "whether a covariate, or what the model is told in its place, lies outside the range "
            "that the model was trained on",
        ),
        _field("seed", pa.int64(), "seed of the release"),
        _field("attempt", pa.int32(), "how many earlier draws failed the quality check"),
        _field(
            "status",
            pa.string(),
            "ok; failed if no attempt passed the quality check; withdrawn if found bad later",
        ),
        _field("error", pa.string(), "why it failed or was withdrawn; else null", null=True),
    ]
    if made_on:
        text = "what computed it: the accelerator and the version of PyTorch"
        fields.append(_field(MADE_ON, pa.string(), text))
    for column in quality:
        name = QUALITY_PREFIX + column.name
        fields.append(_field(name, pa.float64(), column.description, column.unit, null=True))
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise ReleaseError(f"column {name!r}: the name is taken by another manifest column")
    about = {
        "version": SCHEMA_VERSION,
        "columns": [column.to_json() for column in columns],
        "quality": [column.to_json() for column in quality],
    }
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(about, sort_keys=True).encode()})


def columns_of(schema: pa.Schema) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """The covariates and the quality figures that a manifest's schema tells of.

    Raises:
        ReleaseError: no manifest of ours, or one of a later version.
    """
    text = (schema.metadata or {}).get(METADATA_KEY)
    if text is None:
        raise ReleaseError(
            "this Parquet file is no manifest: its schema has no brainpress metadata"
        )
    about = parse_json(text, "the manifest's schema")
    if about.get("version") != SCHEMA_VERSION:
        raise ReleaseError(
            f"manifest schema version {about.get('version')}: this brainpress reads"
            f" {SCHEMA_VERSION}; install a newer one"
        )
    parts = [about.get(part) for part in ("columns", "quality")]
    if not all(isinstance(p, list) and all(isinstance(c, dict) for c in p) for p in parts):
        raise ReleaseError("the manifest's schema does not list its columns")
    columns, quality = (tuple(map(Column.from_json, part)) for part in parts if part is not None)
    return columns, quality


def same_columns(found: pa.Schema, expected: pa.Schema) -> bool:
    """Whether two manifests have the same columns, of the same version.

    How a field that every manifest has is described in words may differ: it is put better at times.
    """
    ours = (found.metadata or {}).get(METADATA_KEY) == (expected.metadata or {}).get(METADATA_KEY)
    return ours and found.equals(expected)


def rows_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows of a manifest as a table, sorted by index.

    Raises:
        ReleaseError: a row that lacks a column or has one too many, a value that does not fit,
            a status that contradicts the row.
    """
    names = set(schema.names)
    ordered = sorted(rows, key=lambda row: int(row["index"]))
    for row in ordered:
        if unlike := names ^ set(row):
            raise ReleaseError(
                f"manifest row {row['index']}: columns {sorted(unlike)} are missing or not known"
            )
        _check_row(row, schema)
    try:
        table = pa.Table.from_pylist([dict(row) for row in ordered], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ReleaseError(f"manifest rows do not fit the schema: {error}") from error
    return table


def _check_row(row: Mapping[str, Any], schema: pa.Schema) -> None:
    place = f"manifest row {row['index']}"
    present = [row[name] is not None for name in ("path", "bytes", "sha256")]
    if row["status"] == OK:
        if not all(present) or row["error"] is not None:
            raise ReleaseError(f"{place}: status ok needs path, bytes and sha256, and no error")
    elif row["status"] in (FAILED, WITHDRAWN):
        if any(present) or not row["error"]:
            raise ReleaseError(
                f"{place}: status {row['status']} needs an error, and no path, bytes, sha256"
            )
    else:
        raise ReleaseError(
            f"{place}: status {row['status']!r} is none of {OK}, {FAILED}, {WITHDRAWN}"
        )
    for field in schema:
        value = row[field.name]
        if value is None and not field.nullable:
            raise ReleaseError(f"{place}: {field.name} is null")
        if isinstance(value, float) and not math.isfinite(value) and not field.nullable:
            raise ReleaseError(f"{place}: {field.name} is {value}")


def _field(
    name: str, kind: pa.DataType, description: str, unit: str = "", *, null: bool = False
) -> pa.Field:
    metadata = {"description": description, **({"unit": unit} if unit else {})}
    return pa.field(name, kind, nullable=null, metadata=metadata)
