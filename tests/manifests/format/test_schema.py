"""The manifest's columns, and rows that are refused because they contradict themselves."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from manifests.errors import ReleaseError
from manifests.format.schema import Column, columns_of, manifest_schema, rows_table
from tests.manifests.releases import COLUMNS, QUALITY, SCHEMA, row


def test_the_schema_tells_units_meanings_version_and_columns() -> None:
    field = SCHEMA.field("ventricular_volume")
    assert field.metadata[b"unit"] == b"mm3"
    assert b"lateral ventricles" in field.metadata[b"description"]
    assert columns_of(SCHEMA) == (COLUMNS, QUALITY)


DX = Column(name="dx", kind="categorical", levels=("CN", "MCI", "AD"), coding="one-hot")


def test_the_scaled_value_of_a_one_hot_covariate_is_the_number_of_its_level() -> None:
    assert [DX.scaled(level) for level in DX.levels] == [0, 1, 2]
    spread = Column(name="dx", kind="categorical", levels=DX.levels)
    assert [spread.scaled(level) for level in spread.levels] == [0, 0.5, 1]
    assert "coding" not in spread.to_json()
    text = manifest_schema((DX,)).field("dx_scaled").metadata[b"description"].decode()
    assert "the number of the level whose input is 1, counted from 0" in text
    assert columns_of(manifest_schema((DX,)))[0] == (DX,)


def test_columns_survive_json() -> None:
    for column in (*COLUMNS, *QUALITY, DX):
        assert Column.from_json(column.to_json()) == column


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"name": "Age"}, "lower case"),
        ({"name": "a b"}, "lower case"),
        ({"name": "x", "kind": "ordinal"}, "neither continuous nor categorical"),
        ({"name": "x", "kind": "categorical"}, "needs levels"),
        ({"name": "x", "kind": "categorical", "levels": ("a", "a")}, "not distinct"),
        ({"name": "x", "minimum": 2.0, "maximum": 1.0}, "not below"),
        ({"name": "x", "coding": "one-hot"}, "coding 'one-hot', expected one-hot or ordered, and"),
        (
            {"name": "x", "kind": "categorical", "levels": ("a", "b"), "coding": "\x1b"},
            "expected one-hot or ordered",
        ),
    ],
)
def test_a_column_is_checked_at_birth(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(ReleaseError, match=line):
        Column(**wrong)


@pytest.mark.parametrize("name", ["index", "sha256", "seed", "age_scaled", "status"])
def test_a_covariate_cannot_take_the_name_of_a_manifest_column(name: str) -> None:
    with pytest.raises(ReleaseError, match="taken"):
        manifest_schema((Column(name="age"), Column(name=name)))


def test_rows_become_a_table_in_order_of_their_index() -> None:
    table = rows_table([row(2, b"x"), row(0, b"y"), row(1)], SCHEMA)
    assert table["index"].to_pylist() == [0, 1, 2]
    assert table["status"].to_pylist() == ["ok", "failed", "ok"]
    assert table["path"].to_pylist()[1] is None
    assert table.schema.equals(SCHEMA, check_metadata=True)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"surprise": 1}, "surprise"),
        ({"path": None}, "status ok needs path"),
        ({"error": "but why"}, "and no error"),
        ({"status": "failed"}, "status failed needs an error"),
        ({"status": "withdrawn", "error": "bad"}, "status withdrawn needs an error, and no path"),
        ({"status": "fine"}, "none of ok, failed, withdrawn"),
        ({"age": None}, "age is null"),
        ({"age": float("nan")}, "age is nan"),
        ({"age_scaled": float("inf")}, "age_scaled is inf"),
        ({"age": "old"}, "do not fit"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ReleaseError, match=line):
        rows_table([row(0, b"x", **changes)], SCHEMA)


def test_a_row_that_lacks_a_column_is_refused() -> None:
    short = row(0, b"x")
    del short["age"]
    with pytest.raises(ReleaseError, match=r"\['age'\] are missing"):
        rows_table([short], SCHEMA)


def test_a_parquet_file_of_something_else_is_no_manifest() -> None:
    with pytest.raises(ReleaseError, match="no manifest"):
        columns_of(pa.schema([("x", pa.int64())]))


def test_a_manifest_of_a_later_version_asks_for_a_newer_brainpress() -> None:
    later = SCHEMA.with_metadata({b"brainpress": b'{"version": 99}'})
    with pytest.raises(ReleaseError, match="install a newer one"):
        columns_of(later)
