"""Whether the rows of a manifest agree with release.json and with themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.extrapolation import is_extrapolated, on_the_edge, told_of
from manifests.format.layout import MANIFEST_KEY, participant_id, row_path
from manifests.format.schema import OK, SCALED_SUFFIX, WITHDRAWN, Column
from manifests.query.release import Release
from manifests.verify.findings import Report

SCALE_TOLERANCE = 1e-5  # scaled covariates may be kept in float32
BATCH_ROWS = 4096


def check_rows(release: Release, table: pa.Table, report: Report) -> None:
    """What the rows say, against release.json and against each other."""
    counts = release.about["counts"]
    ok = pc.sum(pc.equal(table["status"], OK)).as_py() or 0
    size = pc.sum(table["bytes"]).as_py() or 0
    withdrawn = pc.sum(pc.equal(table["status"], WITHDRAWN)).as_py() or 0
    found = {
        "samples": table.num_rows,
        "ok": ok,
        "failed": table.num_rows - ok - withdrawn,
        "withdrawn": withdrawn,
        "image_bytes": size,
    }
    for name, value in found.items():
        told = counts.get(name, 0)
        if told != value:
            text = f"the manifest has {value} {name}, release.json says {told}"
            report.error("counts", MANIFEST_KEY, text)
    _check_indices(table["index"].to_numpy(), release, report)
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        for row in batch.to_pylist():
            _check_row(row, release, report)
    digests = pc.value_counts(table["sha256"].filter(pc.greater(table["sha256"], "")))
    for found in digests.filter(pc.greater(digests.field("counts"), 1)).to_pylist():
        text = f"{found['counts']} images have SHA-256 {found['values']}"
        report.error("image-repeated", MANIFEST_KEY, text)


def _check_indices(indices: np.ndarray, release: Release, report: Report) -> None:
    """Whether the samples are there once each, in order: (N,) int64."""
    values, times = np.unique(indices, return_counts=True)
    repeated = values[times > 1]
    if len(repeated):
        text = f"{len(repeated)} samples are there twice or more, first {repeated.min()}"
        report.error("index-repeated", MANIFEST_KEY, text)
    elif (np.diff(indices) < 0).any():
        report.error("index-order", MANIFEST_KEY, "its rows are not in order of their indices")
    elif not release.about.get("source") and not np.array_equal(indices, np.arange(len(indices))):
        report.error("index-gap", MANIFEST_KEY, "indices are not 0, 1, 2, ... without a gap")


def _check_row(row: dict[str, Any], release: Release, report: Report) -> None:
    key, index = row["participant_id"], row["index"]
    expected = row_path(row, release.document.suffixes)
    if key != participant_id(index):
        report.error("row-name", key, f"sample {index} is called {key}")
    if row["seed"] != release.document.seed:
        text = f"its seed is {row['seed']}, the release's is {release.document.seed}"
        report.error("row-seed", key, text)
    if row["status"] != OK:
        if row["status"] != WITHDRAWN:
            report.error("sample-failed", key, f"it has no image: {row['error']}")
        elif not row["error"]:
            report.error("row-status", key, "it was withdrawn, and nothing says why")
        if row["path"] is not None:
            was = "was withdrawn" if row["status"] == WITHDRAWN else "failed"
            report.error("row-status", key, f"it {was}, and has a path")
    elif row["path"] != expected or not row["sha256"] or row["bytes"] is None:
        report.error("row-path", key, f"path {row['path']!r}, expected {expected!r}")
    columns = release.document.columns
    sound = [_check_covariate(row, column, report) for column in columns]
    if all(sound):
        _check_extrapolated(row, columns, report)


def _check_extrapolated(row: dict[str, Any], columns: Sequence[Column], report: Report) -> None:
    outside = is_extrapolated(columns, row)
    if outside != row["extrapolated"] and not on_the_edge(columns, row):
        told = ", or what the model is told in its place," if told_of(columns, row) else ""
        what = f"{'a' if outside else 'no'} covariate{told} is"
        text = f"extrapolated is {row['extrapolated']}, and {what} out of range"
        report.error("extrapolated", row["participant_id"], text)


def _check_covariate(row: dict[str, Any], column: Column, report: Report) -> bool:
    """Check value and scaled value; whether the value is one that the column may have."""
    value, scaled = row[column.name], row[column.name + SCALED_SUFFIX]
    key = row["participant_id"]
    if column.kind == "categorical" and value not in column.levels:
        text = f"{column.name} is {value!r}, expected one of {', '.join(column.levels)}"
        report.error("covariate", key, text)
        return False
    expected = column.scaled(value)
    if expected is None:
        return True
    if not abs(scaled - expected) <= SCALE_TOLERANCE * max(1.0, abs(expected)):
        text = (
            f"{column.name}{SCALED_SUFFIX} is {scaled}, {column.name} {value} scales to {expected}"
        )
        report.error("covariate-scaled", key, text)
    return True
