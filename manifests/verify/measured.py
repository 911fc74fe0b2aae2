"""Whether measured.parquet, where a release has one, joins its manifest row by row."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.layout import MEASURED_KEY, participant_id
from manifests.format.measured import MEASURES, PREFIX, same_measures
from manifests.format.schema import OK
from manifests.numbers import ranges
from manifests.query.release import Release
from manifests.verify.findings import Report
from manifests.verify.tables import check_indices, read_table


def check_measured(release: Release, table: pa.Table, report: Report) -> None:
    """The rows of measured.parquet against those of the manifest."""
    if not release.is_measured:
        if release.document.evaluation is not None:
            text = "release.json tells of an evaluation, and gives no SHA-256 of it"
            report.error("file-unnamed", MEASURED_KEY, text)
        return
    rows = read_table(
        release.store,
        MEASURED_KEY,
        report,
        kind="measured",
        same=same_measures,
        other="its columns are not those of this version; a newer brainpress may know them",
    )
    if rows is None:
        return
    indices = rows["index"].to_pylist()
    images = set(table.filter(pc.equal(table["status"], OK))["index"].to_pylist())
    check_indices(indices, images, MEASURED_KEY, report, kind="measured")
    _check_figures(rows, indices, report)


def _check_figures(rows: pa.Table, indices: list[int], report: Report) -> None:
    """Each row has all figures, or says why it has none."""
    refused = pc.is_valid(rows["error"])
    wrong = pa.array([False] * rows.num_rows)
    for measure in MEASURES:
        values = rows[PREFIX + measure.name]
        there = pc.fill_null(pc.is_finite(values), False)
        wrong = pc.or_(wrong, pc.equal(there, refused))
        wrong = pc.or_(wrong, pc.and_(refused, pc.is_valid(values)))
    named = zip(indices, rows["participant_id"].to_pylist(), strict=True)
    misnamed = {index for index, name in named if name != participant_id(index)}
    incomplete = {i for i, bad in zip(indices, wrong.to_pylist(), strict=True) if bad}
    if found := sorted(misnamed | incomplete):
        report.error("measured-row", MEASURED_KEY, f"rows of the samples {ranges(found)[:200]}")
