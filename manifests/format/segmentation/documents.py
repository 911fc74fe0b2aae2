"""The files by which the label maps explain themselves as a BIDS derivative of the release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.json_text import json_bytes
from manifests.format.layout import BIDS_VERSION
from manifests.format.licenses import license_url
from manifests.format.parquet import parquet_bytes
from manifests.format.segmentation.about import Segmentation
from manifests.format.segmentation.layout import (
    ABOUT_KEY,
    COLUMNS_KEY,
    LABELS_KEY,
    README_KEY,
    REGIONS_KEY,
    SIDECAR_KEY,
    VOLUMES_KEY,
)
from manifests.format.segmentation.table import volumes_of
from manifests.text import markdown, one_line


def segmentation_files(
    told: Segmentation, table: pa.Table, *, name: str, software_version: str
) -> dict[str, bytes]:
    """All that release.json names of the label maps, by key, for these rows of the table.

    Args:
        table: as of `table.regions_table`.
        name: of the release.
        software_version: of the brainpress that made it.
    """
    return {
        README_KEY: _readme(told, name).encode(),
        ABOUT_KEY: json_bytes(_about(told, name, software_version)),
        LABELS_KEY: label_table(told),
        SIDECAR_KEY: json_bytes(_sidecar(told)),
        COLUMNS_KEY: json_bytes(_columns(table.schema)),
        VOLUMES_KEY: volumes_tsv(table),
        REGIONS_KEY: parquet_bytes(table),
    }


def label_table(told: Segmentation) -> bytes:
    """The look-up table of the maps, with BIDS' columns."""
    lines = ["index\tname\tabbreviation\tcolor\tmapping"]
    for one in told.regions:
        cells = (one.number, one.name, one.abbreviation, one.hex_colour, one.mapping)
        lines.append("\t".join(map(str, cells)))
    return ("\n".join(lines) + "\n").encode()


def volumes_tsv(table: pa.Table) -> bytes:
    """participants.tsv of the derivative: each image that has a map, and its volumes in mm3."""
    names = ["participant_id", *volumes_of(table.schema)]
    return "".join(_lines(names, table.filter(pc.is_null(table["error"])))).encode()


def _lines(names: list[str], rows: pa.Table) -> Iterator[str]:
    yield "\t".join(names) + "\n"
    columns = [rows[name].to_pylist() for name in names]
    for cells in zip(*columns, strict=True):
        yield "\t".join(map(str, cells)) + "\n"


def _columns(schema: pa.Schema) -> dict[str, Any]:
    described = {}
    for name in volumes_of(schema):
        metadata = schema.field(name).metadata
        described[name] = {
            "Description": metadata[b"description"].decode(),
            "Units": metadata[b"unit"].decode(),
        }
    return described


def _about(told: Segmentation, name: str, software_version: str) -> dict[str, Any]:
    what = f"{told.description} " if told.description else ""
    tool = f"{what}Its files have the SHA-256 {told.fingerprint}."
    return {
        "Name": one_line(f"{name}: label maps"),
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": told.license,
        **({"HowToAcknowledge": told.attribution} if told.attribution else {}),
        "GeneratedBy": [
            {
                "Name": "brainpress",
                "Version": software_version,
                "Description": "brainpress segment, one label map for each T1w image",
            },
            {"Name": told.tool, "Version": told.fingerprint[:12], "Description": tool},
        ],
        "SourceDatasets": [{"URL": "../../"}],
    }


def _sidecar(told: Segmentation) -> dict[str, Any]:
    return {
        "Description": f"{len(told.regions)} regions of the T1w image of the same participant, on"
        " its own grid; 0 is background, the other numbers are in the table of the same name",
        "Manual": False,
    }


def _readme(told: Segmentation, name: str) -> str:
    url = license_url(told.license)
    where = f" ({url})" if url else ""
    sections = [
        f"# Label maps of {markdown(name)}",
        f"One map for each T1w image, of {len(told.regions)} regions, on the image's own grid. A"
        " network drew them; nobody looked at them one by one.",
        "- `sub-*/anat/*_desc-regions_dseg.nii.gz`: the maps, 8 bits; 0 is background.\n"
        "- `desc-regions_dseg.tsv`: what the numbers mean.\n"
        "- `participants.tsv`: volumes of the regions in mm3, not normalised for head size.\n"
        "- `../../regions.parquet`: the same, with the SHA-256 of each map and of its image; an"
        " image that could not be segmented has its reason there.",
        f"Drawn by {markdown(told.tool)}, SHA-256 {told.fingerprint}."
        f" {markdown(told.description)}".rstrip(),
        f"The maps are under {markdown(told.license)}{where}, as the weights that drew them are."
        f" {markdown(told.attribution)}".rstrip(),
    ]
    return "\n\n".join(sections) + "\n"
