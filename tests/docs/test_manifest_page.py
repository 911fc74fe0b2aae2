"""docs/manifest.md is what the schema says."""

from __future__ import annotations

from manifests.format.measured import measured_schema
from manifests.format.schema import manifest_schema
from ray_jobs.generation.worker.rows import QUALITY_COLUMNS
from tests.docs.manifest_page import COLUMNS, PAGE, manifest_page


def test_the_page_about_the_manifest_is_what_its_schema_says() -> None:
    assert PAGE.read_text() == manifest_page(COLUMNS, QUALITY_COLUMNS)


def test_every_column_has_its_line_and_its_meaning() -> None:
    pages = manifest_page(COLUMNS, QUALITY_COLUMNS).split("\n## What was measured afterwards")
    schemas = manifest_schema(COLUMNS, QUALITY_COLUMNS, made_on=True), measured_schema()
    for page, schema in zip(pages, schemas, strict=True):
        for name in schema.names:
            (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
            assert len(line.split("|")[-2].strip()) > 9
