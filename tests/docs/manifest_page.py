"""Writes docs/manifest.md: every column of a manifest, as its schema tells of it.

python -m tests.docs.manifest_page
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ldm.covariates import PAPER_SCHEMA
from manifests.format.measured import MEASURED_VERSION, measured_schema
from manifests.format.schema import (
    MADE_ON,
    QUALITY_PREFIX,
    SCALED_SUFFIX,
    SCHEMA_VERSION,
    Column,
    manifest_schema,
)
from manifests.text import markdown
from ray_jobs.generation.worker.rows import QUALITY_COLUMNS, covariate_columns
from tests import ROOT

PAGE = ROOT / "docs" / "manifest.md"
COLUMNS = covariate_columns(PAPER_SCHEMA)

_HEAD = f"""\
# The manifest

`manifest.parquet` has a row for each sample of a release, in order of its index; the parts in
`manifest/` have the same rows, a shard each. This is version {SCHEMA_VERSION} of its schema.

Units and meanings are in the file too, as metadata of its fields:

    pyarrow.parquet.read_schema("manifest.parquet").field("age").metadata

Units are UCUM (`By` is a byte, `mm3` a cubic millimetre) but for `year`; where there is none, it is
a number without dimension. A column that may be null says so.

A sample with the status `withdrawn` was found bad after the release (`brainpress withdraw`): its
row stays as a tombstone, with what was asked of it, the reason in `error`, and no path, size or
digest, as its image was removed. It is one in every published version, also in those before it."""


_ONE_HOT = """

A covariate of more than two levels (a diagnosis, a scanner) is given to newer models one-hot: an
input for each level, 1 for the one that is asked and 0 for the others. Its `_scaled` column then
holds which input is 1: the number of the level, counted from 0 in the order of `levels`. The file
says so: among the `columns` in the schema's metadata under `brainpress` such a one has `"coding":
"one-hot"`. Without that its levels are spread evenly from 0 to 1, as they are for models trained
earlier."""

_MADE_ON = """\
## What it was made on

What computed each image; releases begun before there was this column have none. Images are equal
byte for byte within one such kind, at the batch size that stands among the `fields` of
`release.json`; another kind rounds otherwise.

"""

_MEASURED = f"""\
## What was measured afterwards: `measured.parquet`

Where a release was published with an evaluation (`brainpress evaluate`, then `brainpress publish
--evaluation`), this file has a row for each image that was measured, in order of its index. This is
version {MEASURED_VERSION} of its schema. It joins the manifest by `index`:

    brainpress query RELEASE \\
        "SELECT m.age, x.measured_age FROM manifest m JOIN measured x USING (index)"

or in Python `Release.open(RELEASE).measured()`; filters take its columns as they take the
manifest's, `--where "measured_age > 70"`. An image that the tools refused has its reason in
`error`, and no figures. Samples that failed or were withdrawn, and those that were made after the
evaluation, have no row. Held against what was asked are `ventricular_volume` and
`measured_ventricular_volume`, `age` and `measured_age`, `brain_volume` and
`measured_normalised_brain_volume` (`measured_brain_volume` is not normalised). The tools err too:
the report in `evaluation/` says by how much on real people.

"""


_REGIONS = """## The regions of each image: `regions.parquet`

Of a release that was segmented ([labels.md](labels.md)): a row for each T1w image, in order of its
index. `image_sha256` is that of the image that was segmented; `path`, `bytes` and `sha256` are of
its label map; `error` says why it has none; `volume_<region>` in mm3 is of each region in
`derivatives/segmentation/desc-regions_dseg.tsv`, null where there is no map. Filters take these
volumes as they take the manifest's columns, and in SQL it is the table `regions`."""


def manifest_page(columns: Sequence[Column], quality: Sequence[Column]) -> str:
    """The page for manifests with these covariates and quality figures, as Markdown."""
    schema = manifest_schema(columns, quality, made_on=True)
    asked = [name for column in columns for name in (column.name, column.name + SCALED_SUFFIX)]
    measured = [QUALITY_PREFIX + column.name for column in quality]
    every = [name for name in schema.names if name not in {*asked, *measured, MADE_ON}]
    sections = [
        _HEAD,
        "## In every manifest\n\n" + _table(schema, every),
        _MADE_ON + _table(schema, [MADE_ON]),
        "## Covariates: what an image was asked to show\n\nThose of the model; these are the"
        " paper's. A model with others has others, and one without conditioning has none.\n\n"
        + _table(schema, asked)
        + _ONE_HOT,
        "## Quality: what was measured on the image\n\n" + _table(schema, measured),
    ]
    sections.append(_MEASURED + _table(measured_schema(), measured_schema().names))
    sections.append(_REGIONS)
    return "\n\n".join(sections) + "\n"


def _table(schema: pa.Schema, names: Sequence[str]) -> str:
    lines = ["| column | type | unit | null | meaning |", "|---|---|---|---|---|"]
    for name in names:
        field = schema.field(name)
        metadata = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        null = "may be" if field.nullable else ""
        unit, meaning = metadata.get("unit", ""), markdown(metadata.get("description", ""))
        lines.append(f"| `{name}` | {field.type} | {unit} | {null} | {meaning} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(manifest_page(COLUMNS, QUALITY_COLUMNS))
