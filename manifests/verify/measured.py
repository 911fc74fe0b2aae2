"""Whether measured.parquet, where a release has one, joins its manifest row by row."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ReleaseError
from manifests.format.layout import MEASURED_KEY, participant_id
from manifests.format.measured import MEASURES, PREFIX, same_measures
from manifests.format.parquet import table_from_bytes
from manifests.format.schema import OK
from manifests.numbers import ranges
from manifests.query.release import Release
from manifests.verify.documents import read_or_why
from manifests.verify.findings import Report


def check_measured(release: Release, table: pa.Table, report: Report) -> None:
    """The rows of measured.parquet against those of the manifest."""
    if not release.is_measured:
        if release.document.evaluation is not None:
            text = "release.json tells of an evaluation, and gives no SHA-256 of it"
            report.error("file-unnamed", MEASURED_KEY, text)
        return
    data = read_or_why(release.store, MEASURED_KEY)
    if not isinstance(data, bytes):  # as told of the files that release.json names
        return
    try:
        rows = table_from_bytes(data, MEASURED_KEY)
    except ReleaseError as error:
        report.error("measured-unreadable", MEASURED_KEY, str(error))
        return
    if not same_measures(rows.schema):
        text = "its columns are not those of this version; a newer brainpress may know them"
        report.error("measured-schema", MEASURED_KEY, text)
        return
    indices = rows["index"].to_pylist()
    if any(later <= before for before, later in pairwise(indices)):
        text = "its indices are not in order, each once"
        report.error("measured-repeated", MEASURED_KEY, text)
    images = set(table.filter(pc.equal(table["status"], OK))["index"].to_pylist())
    if strangers := sorted(set(indices) - images):
        text = f"rows of samples that have no image here: {ranges(strangers)[:200]}"
        report.error("measured-sample", MEASURED_KEY, text)
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
