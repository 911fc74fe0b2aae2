"""docs/manifest.md is what the schema says; run as a program, this writes it anew."""

from __future__ import annotations

from ldm.covariates import PAPER_SCHEMA
from manifests.format.measured import measured_schema
from manifests.format.schema import manifest_schema
from manifests.metadata.columns_page import columns_page
from ray_jobs.generation.worker.rows import QUALITY_COLUMNS, covariate_columns
from tests import ROOT

PAGE = ROOT / "docs" / "manifest.md"
COLUMNS = covariate_columns(PAPER_SCHEMA)


def test_the_page_about_the_manifest_is_what_its_schema_says() -> None:
    assert PAGE.read_text() == columns_page(COLUMNS, QUALITY_COLUMNS)


def test_every_column_has_its_line_and_its_meaning() -> None:
    pages = columns_page(COLUMNS, QUALITY_COLUMNS).split("\n## What was measured afterwards")
    schemas = manifest_schema(COLUMNS, QUALITY_COLUMNS), measured_schema()
    for page, schema in zip(pages, schemas, strict=True):
        for name in schema.names:
            (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
            assert len(line.split("|")[-2].strip()) > 9


if __name__ == "__main__":
    PAGE.write_text(columns_page(COLUMNS, QUALITY_COLUMNS))
