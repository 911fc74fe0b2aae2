"""What is told beyond the training data is extrapolated, as well as what is asked beyond it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from manifests.errors import ReleaseError
from manifests.format.extrapolation import is_extrapolated, on_the_edge
from manifests.format.schema import Column, Told, manifest_schema
from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.verify import open_to_verify, verify
from tests.manifests.releases import COLUMNS, QUALITY, document, image_bytes, row

PLANE = {"constant": -0.5, "weights": {"sex": 0.1, "age": 0.0, "ventricular_volume": 2.0}}
SEX, AGE, VENTRICLES = COLUMNS
CALIBRATED = (SEX, AGE, replace(VENTRICLES, told=Told.from_json(PLANE)))


def asked(**changes: Any) -> dict[str, Any]:
    middle = (6_995.68 + 171_375.0) / 2
    return {"sex": "F", "age": 60.0, "ventricular_volume": middle, **changes}


@pytest.mark.parametrize(
    ("changes", "plain", "calibrated"),
    [
        ({}, False, False),  # 0.5 is asked, 0.5 told
        ({"ventricular_volume": 20_000.0}, False, True),  # 0.08 asked, -0.34 told
        ({"ventricular_volume": 150_000.0}, False, True),  # 0.87 asked, 1.24 told
        ({"sex": "M", "ventricular_volume": 130_000.0}, False, True),  # 1.1 told for the sex
        ({"ventricular_volume": 130_000.0}, False, False),  # and 0.997 without it
        ({"age": 90.0}, True, True),
    ],
)
def test_a_row_is_extrapolated_by_what_is_asked_or_told(
    changes: dict[str, Any], plain: bool, calibrated: bool
) -> None:
    assert is_extrapolated(COLUMNS, asked(**changes)) is plain
    assert is_extrapolated(CALIBRATED, asked(**changes)) is calibrated


def test_levels_that_are_one_hot_count_by_the_one_that_is_asked() -> None:
    scanner = Column(name="scanner", kind="categorical", levels=("a", "b", "c"), coding="one-hot")
    told = Told(constant=0.0, weights=(("age", 1.0), ("scanner=b", 0.7)))
    columns = (scanner, replace(AGE, told=told))
    assert not is_extrapolated(columns, {"scanner": "a", "age": 70.0})
    assert is_extrapolated(columns, {"scanner": "b", "age": 70.0})


def test_at_the_very_edge_either_answer_is_right() -> None:
    columns = (replace(AGE, told=Told(constant=1e-9, weights=(("age", 1.0),))),)
    assert on_the_edge(columns, {"age": 82.0})
    assert not is_extrapolated(columns, {"age": 82.0})
    assert not on_the_edge(columns, {"age": 81.0})


def test_a_column_keeps_what_is_told_and_one_without_says_nothing() -> None:
    assert Column.from_json(CALIBRATED[2].to_json()) == CALIBRATED[2]
    assert "told" not in VENTRICLES.to_json()


@pytest.mark.parametrize(
    "plane",
    [7, {}, {"constant": 0.0}, {"constant": "0", "weights": {}}, {"constant": 0.0, "weights": [1]},
     {"constant": float("nan"), "weights": {}}, {"constant": 0.0, "weights": {"age": True}}],
)  # fmt: skip
def test_what_is_told_is_refused_where_it_is_no_plane(plane: Any) -> None:
    with pytest.raises(ReleaseError, match="expected a constant and weights"):
        Column.from_json({**VENTRICLES.to_json(), "told": plane})


def test_what_is_told_by_a_covariate_that_is_not_there_is_refused() -> None:
    odd = replace(AGE, told=Told(constant=0.0, weights=(("height", 1.0),)))
    with pytest.raises(ReleaseError, match="depends on 'height', expected covariates"):
        document(columns=(SEX, odd, VENTRICLES))


@pytest.mark.parametrize(
    ("columns", "right"), [(CALIBRATED, True), (COLUMNS, False)], ids=["now", "released before"]
)
def test_verify_derives_it_from_what_release_json_tells(
    tmp_path: Any, columns: tuple[Column, ...], right: bool
) -> None:
    low = {"ventricular_volume": 20_000.0}
    scaled = {"ventricular_volume_scaled": (20_000 - 6_995.68) / (171_375.0 - 6_995.68)}
    codes = {}
    for marked in (True, False):
        store = open_store(str(tmp_path / str(marked)))
        data = image_bytes(0)
        rows = [row(0, data, **low, **scaled, extrapolated=marked)]
        store.put(rows[0]["path"], data)
        table = pa.Table.from_pylist(rows, schema=manifest_schema(columns, QUALITY))
        write_release(store, table, document(columns=columns))
        release = open_to_verify(store)
        assert isinstance(release, Release)
        report = verify(release)
        codes[marked] = {finding.code for finding in report.findings}
    assert ("extrapolated" in codes[right]) is False
    assert ("extrapolated" in codes[not right]) is True
