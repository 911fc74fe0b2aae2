"""What the Hugging Face Hub and its `datasets` library read: a card's head, and a table of images.

https://huggingface.co/docs/hub/datasets-cards and .../datasets-manual-configuration. With them
`datasets.load_dataset(RELEASE)` gives images (`Nifti`) with their covariates; without, it would
take the page's pictures for the data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.format.document import ReleaseDocument
from manifests.format.layout import HUB_TABLE_KEY
from manifests.format.licenses import license_url
from manifests.format.parquet import ROW_GROUP_ROWS, parquet_writer
from manifests.format.schema import OK, Column
from manifests.text import quoted

IMAGES = "sub-*/anat/*.nii.gz"
MOST_IN_A_FOLDER = 10_000  # files and folders, of the Hub
# The Hub's own names of licences; of any other it wants a name and a link.
_LICENSES = {
    name: name.lower()
    for name in (
        *("CC0-1.0", "Apache-2.0", "MIT", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"),
        *("CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-SA-2.0"),
        *("CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0"),
    )
} | {"PDDL-1.0": "pddl", "ODC-By-1.0": "odc-by", "ODbL-1.0": "odbl"}
_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"))


def front_matter(
    document: ReleaseDocument, *, images: int, files: Sequence[str], features: Sequence[str] = ()
) -> str:
    """The YAML at the head of a README.md, between its two lines of dashes.

    Args:
        files: patterns of the files that are the data, the table of them among these.
        features: YAML lines that say what a sample has, where the files do not tell.
    """
    tags = ["medical", "neuroimaging", "mri", "brain", "synthetic", "nifti"]
    tags += [suffix.lower() for suffix in document.suffixes]
    lines = [
        "---",
        f"pretty_name: {_inert(document.name)}",
        *_license(document.license),
        "task_categories:",
        "- unconditional-image-generation",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "size_categories:",
        f"- {next((told for most, told in _SIZES if images < most), '1M<n<10M')}",
    ]
    if images:
        lines += [
            "configs:",
            "- config_name: default",
            "  data_files:",
            "  - split: train",
            "    path:",
            *(f"    - {quoted(pattern)}" for pattern in files),
            *(["dataset_info:", *(f"  {line}" for line in features)] if features else []),
        ]
    return "\n".join([*lines, "---", ""])


def without_front_matter(markdown: str) -> str:
    """The text below the head of a card; all of one that has none."""
    if not markdown.startswith("---\n"):
        return markdown
    _, end, text = markdown.partition("\n---\n")
    return text.lstrip("\n") if end else markdown


def write_hub_table(manifest: Path, columns: Sequence[Column]) -> Path:
    """Write the table of the images beside `manifest`; a row an image, few in memory.

    Args:
        manifest: manifest.parquet on this machine, as this program has just written it.
    """
    table = manifest.with_name(HUB_TABLE_KEY)
    asked = [*(column.name for column in columns), "extrapolated"] if columns else []
    names = ["path", "participant_id", *asked]
    with pq.ParquetFile(manifest, pre_buffer=False) as source:
        shown = source.schema_arrow
        schema = pa.schema([shown.field(name) for name in names])
        schema = schema.set(0, schema.field(0).with_name("file_name"))
        with parquet_writer(table, schema) as writer:
            for group in range(source.num_row_groups):
                rows = source.read_row_group(group, columns=["status", *names], use_threads=False)
                rows = rows.filter(pc.equal(rows["status"], OK)).select(names)
                rows = rows.rename_columns(schema.names).cast(schema).combine_chunks()
                writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
    return table


def hub_features(schema: pa.Schema) -> list[str]:
    """A manifest's columns as `datasets` writes them in YAML: those of a shard's samples."""
    kinds = {"double": "float64", "bool": "bool", "string": "string"}
    lines = [
        "config_name: default",
        "features:",
        "- name: nii.gz",
        "  dtype: nifti",
        "- name: json",
        "  struct:",
    ]
    for field in schema:
        kind = kinds.get(str(field.type), str(field.type))
        lines += [f"  - name: {quoted(field.name)}", f"    dtype: {kind}"]
    return [*lines, "- name: __key__", "  dtype: string", "- name: __url__", "  dtype: string"]


def _inert(text: str) -> str:
    """A YAML string in which a viewer that knows no such head finds no Markdown and no HTML."""
    marks = "[<>&*_`|$~!#\\[\\]()]"
    return re.sub(marks, lambda found: f"\\u{ord(found[0]):04x}", quoted(text))


def _license(license: str) -> list[str]:
    if license in _LICENSES:
        return [f"license: {_LICENSES[license]}"]
    link = license_url(license) or "LICENSE"
    name = f"license_name: {_inert(license.lower())}"
    return ["license: other", name, f"license_link: {quoted(link)}"]
