"""regions.parquet: the label map of each image and its regions' volumes, to join by index."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ReleaseError
from manifests.format.segmentation.about import PREFIX, Segmentation

TABLE_VERSION = 1
METADATA_KEY = b"brainpress-regions"
DECIMALS = 1  # of a volume in mm3; finer than what a tool can tell


def regions_schema(told: Segmentation) -> pa.Schema:
    """The Arrow schema of a release's table; fields carry unit and description."""

    def field(
        name: str, kind: pa.DataType, what: str, *, null: bool = False, unit: str = ""
    ) -> Any:
        metadata = {"description": what, **({"unit": unit} if unit else {})}
        return pa.field(name, kind, nullable=null, metadata=metadata)

    fields = [
        field("index", pa.int64(), "number of the sample, as in the manifest"),
        field("participant_id", pa.string(), "BIDS key of the sample"),
        field("image_sha256", pa.string(), "SHA-256 of the image that was segmented"),
        field("path", pa.string(), "where the label map lies in the release", null=True),
        field("bytes", pa.int64(), "size of the label map's file", null=True, unit="By"),
        field("sha256", pa.string(), "SHA-256 of the label map's file", null=True),
        field("error", pa.string(), "why the image could not be segmented; else null", null=True),
        *(
            field(
                region.column,
                pa.float64(),
                f"volume of the {region.name}, not normalised for head size",
                null=True,
                unit="mm3",
            )
            for region in told.regions
        ),
    ]
    about = json.dumps({"version": TABLE_VERSION, "tool": told.fingerprint}, sort_keys=True)
    return pa.schema(fields, metadata={METADATA_KEY: about.encode()})


def regions_table(rows: Iterable[Mapping[str, Any]], told: Segmentation) -> pa.Table:
    """Rows of the table, sorted by index; volumes are rounded, and null where there is an error.

    Raises:
        ReleaseError: a row that tells neither where the map is and all volumes, nor why not.
    """
    made = []
    for row in sorted(rows, key=lambda row: int(row["index"])):
        plain = {**row, "error": row.get("error") or None}
        for region in told.regions:
            value = row.get(region.column)
            if plain["error"] is not None:
                plain[region.column] = None
            elif value is not None and math.isfinite(value):
                plain[region.column] = round(float(value), DECIMALS)
            else:
                name = region.column
                raise ReleaseError(f"{row['participant_id']}: {name} is {value}, and no error")
        made.append(plain)
    return pa.Table.from_pylist(made, schema=regions_schema(told))


def same_regions(found: pa.Schema, told: Segmentation) -> bool:
    """Whether a table has the columns that the release tells of, by the same tool."""
    expected = regions_schema(told)
    version = (found.metadata or {}).get(METADATA_KEY)
    return version == (expected.metadata or {})[METADATA_KEY] and found.equals(expected)


def is_regions(found: pa.Schema) -> bool:
    """Whether a table is one of these, of whatever tool and regions."""
    return METADATA_KEY in (found.metadata or {}) and {"index", "error"} <= set(found.names)


def volumes_of(schema: pa.Schema) -> list[str]:
    """The columns that have volumes."""
    return [name for name in schema.names if name.startswith(PREFIX)]


def of_images(table: pa.Table, manifest: pa.Table) -> pa.Table:
    """The rows that are of images as the manifest has them now.

    Args:
        manifest: with the columns index and sha256.
    """
    places = pc.index_in(table["index"], manifest["index"].combine_chunks())
    now = manifest["sha256"].take(places)
    return table.filter(pc.fill_null(pc.equal(table["image_sha256"], now), False))
