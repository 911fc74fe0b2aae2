"""The columns of a manifest that a page shows, and their binary form for a browser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.schema import FAILED, OK, Column

MEASURED_PREFIX = "measured_"
MOST_DECIMALS = 6
ALIGNMENT = 8  # bytes, of a typed array of float64
# How a unit is shown, and how many of it make one of what is shown.
UNITS = {
    "mm3": ("mL", 1000.0),
    "cm3": ("mL", 1.0),
    "mm2": ("mm²", 1.0),
    "year": ("years", 1.0),
    "a": ("years", 1.0),
}
LABELS = {"measured_male": "Male, probability"}

Role = Literal["key", "asked", "measured", "told"]


@dataclass(frozen=True)
class PageColumn:
    """A column of the page: an index, numbers or levels.

    Attributes:
        name: in the manifest.
        role: the sample's key, asked of the model, measured on the image, or told by the press.
        values: float64 (rows,): numbers, or places in `levels`; NaN where there is none.
        levels: of a categorical column.
        trained: of a covariate, the range that the model was trained on.
        shows: of a measured column, the covariate that it measures.
    """

    name: str
    role: Role
    values: np.ndarray
    unit: str = ""
    description: str = ""
    levels: tuple[str, ...] = ()
    trained: tuple[float, float] | None = None
    shows: str | None = None

    @property
    def short_label(self) -> str:
        if self.name in LABELS:
            return LABELS[self.name]
        text = self.name.removeprefix(MEASURED_PREFIX).replace("_", " ").replace("csf ", "CSF ")
        return text[:1].upper() + text[1:]

    @property
    def label(self) -> str:
        return self.short_label + (", measured" if self.role == "measured" else "")

    @property
    def shown_unit(self) -> str:
        return UNITS.get(self.unit, (self.unit, 1.0))[0]

    @property
    def per(self) -> float:
        """How many of the manifest's unit make one of the unit that is shown."""
        return UNITS.get(self.unit, (self.unit, 1.0))[1]

    @property
    def decimals(self) -> int:
        """To which a value is rounded where it is shown: some hundred steps over the spread."""
        there = self.values[np.isfinite(self.values)] / self.per
        if (there == np.rint(there)).all():
            return 0
        greatest = float(np.abs(there).max())
        spread = float(np.ptp(there)) or greatest
        if spread >= 5:
            return 0 if greatest >= 200 else 1
        return min(MOST_DECIMALS, max(1, 1 - math.floor(math.log10(spread))))


def wanted_columns(schema: pa.Schema, covariates: Sequence[Column]) -> list[str]:
    """The columns of a manifest that `page_columns` looks at."""
    asked = [column.name for column in covariates]
    return ["index", *asked, *_measured_names(schema), "extrapolated", "status"]


def page_columns(table: pa.Table, covariates: Sequence[Column]) -> list[PageColumn]:
    """The columns of a page.

    Args:
        table: all rows of a manifest, with the columns of `wanted_columns`. Columns of numbers
            that are called measured_... are figures measured on the image; measured_age, in the
            unit of age, is drawn beside what was asked, unless its metadata says what it shows.
    """
    columns = [PageColumn("index", "key", _numbers(table["index"]))]
    columns += [_asked(column, table[column.name]) for column in covariates]
    asked = {column.name: column for column in columns}
    for name in _measured_names(table.schema):
        metadata = table.schema.field(name).metadata or {}
        unit, description, shows = (
            metadata.get(key, b"").decode(errors="replace")
            for key in (b"unit", b"description", b"shows")
        )
        by_name = "" if b"shows" in metadata else name.removeprefix(MEASURED_PREFIX)
        shown = asked.get(shows or by_name)
        same = shown is not None and not shown.levels and shown.unit == unit
        columns.append(
            PageColumn(
                name,
                "measured",
                _numbers(table[name]),
                unit=unit,
                description=description,
                shows=shown.name if shown is not None and same else None,
            )
        )
    columns.append(_told("extrapolated", table["extrapolated"].cast(pa.string()), ["false"]))
    columns.append(_told("status", table["status"], [OK, FAILED]))
    return columns


def packed(columns: Sequence[PageColumn]) -> tuple[list[dict[str, Any]], bytes]:
    """How each column is stored, and all of them one after the other.

    Numbers with few decimals are whole numbers over a power of ten, from the least one up, in as
    few bytes as hold them: `value = (code - 1 + least) / 10 ** decimals`, where code 0 is none.
    That division gives back the very number. Others are float64. Little-endian.
    """
    specs, pieces, at = [], [], 0
    for column in columns:
        spec, data = _packed(column.values)
        specs.append({**spec, "offset": at})
        pieces.append(data + bytes(-len(data) % ALIGNMENT))
        at += len(pieces[-1])
    return specs, b"".join(pieces)


def _packed(values: np.ndarray) -> tuple[dict[str, Any], bytes]:
    there = np.isfinite(values)
    for decimals, whole in _as_whole_numbers(values[there]):
        least, most = (int(whole.min()), int(whole.max())) if len(whole) else (0, 0)
        if there.all() and len(whole) and (whole == least + np.arange(len(whole))).all():
            return {"type": "range", "least": least, "decimals": decimals}, b""
        for kind in ("u1", "u2", "u4"):
            if most - least + 1 <= np.iinfo(kind).max:
                codes = np.zeros(len(values), f"<{kind}")
                codes[there] = (whole - least + 1).astype(f"<{kind}")
                return {"type": kind, "least": least, "decimals": decimals}, codes.tobytes()
    return {"type": "f8"}, np.where(there, values, np.nan).astype("<f8").tobytes()


def _as_whole_numbers(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The least power of ten by which all values are whole, and these; nothing if there is none."""
    for decimals in range(MOST_DECIMALS + 1):
        scaled = np.rint(values * 10.0**decimals)
        if not (np.abs(scaled) < 2**53).all():
            return
        if (scaled / 10.0**decimals == values).all() and not (
            np.signbit(values) & (values == 0)
        ).any():
            yield decimals, scaled.astype(np.int64)
            return


def _asked(column: Column, values: pa.ChunkedArray) -> PageColumn:
    if column.kind == "categorical":
        return PageColumn(
            column.name,
            "asked",
            _places(values, column.levels),
            description=column.description,
            levels=column.levels,
        )
    low, high = column.minimum, column.maximum
    return PageColumn(
        column.name,
        "asked",
        _numbers(values),
        unit=column.unit,
        description=column.description,
        trained=None if low is None or high is None else (low, high),
    )


def _told(name: str, values: pa.ChunkedArray, first: Sequence[str]) -> PageColumn:
    """What the press tells of a sample, its usual levels first."""
    found = {level for level in pc.unique(values).to_pylist() if level is not None}
    levels = tuple([level for level in first if level in found] + sorted(found - set(first)))
    return PageColumn(name, "told", _places(values, levels), levels=levels)


def _measured_names(schema: pa.Schema) -> list[str]:
    return [
        field.name
        for field in schema
        if field.name.startswith(MEASURED_PREFIX)
        and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
    ]


def _numbers(values: pa.ChunkedArray) -> np.ndarray:
    return values.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def _places(values: pa.ChunkedArray, levels: Sequence[str]) -> np.ndarray:
    """Where each value stands among the levels; NaN where it is none of them."""
    return _numbers(pc.index_in(values, pa.array(levels, pa.string())))
