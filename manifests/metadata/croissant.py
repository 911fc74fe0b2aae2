"""croissant.json: the release as machine-learning tools read it (MLCommons Croissant 1.0)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from manifests.format.document import ReleaseDocument
from manifests.format.layout import MANIFEST_KEY, MEASURED_KEY
from manifests.format.licenses import license_url
from manifests.format.measured import measured_schema
from manifests.format.published import FIRST_VERSION, Published
from manifests.format.segmentation.layout import MAPS_PREFIX, REGIONS_KEY
from manifests.format.segmentation.table import regions_schema
from manifests.metadata.citation import cited, creators, description, keywords
from manifests.metadata.hub import IMAGES
from manifests.text import one_line

IMAGES_ID, MAPS_ID = "images", "label-maps"
FORMAT = "http://mlcommons.org/croissant/1.0"
RECORDS, MEASURED, REGIONS = "manifest", "measured", "regions"
# The specification's own: tools take no other.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    document: ReleaseDocument,
    *,
    ok: int,
    samples: int,
    manifest_sha256: str,
    manifest_bytes: int,
    measured_sha256: str | None = None,
    regions_sha256: str | None = None,
    moved: bool = False,
) -> dict[str, Any]:
    """The content of croissant.json of a release with so many images, made of so many samples.

    Its records are the manifest's rows, and those of measured.parquet and regions.parquet where
    it has them; a field has the column's meaning and unit. Addresses are those of the public place
    that was told when it was published; relative to the file where there is none, or where these
    files are others (`moved`): of a downloaded part, or of a release that has changed since.
    """
    told = description(document, ok=ok, samples=samples)
    told += (
        " A record describes one image: where it lies, its SHA-256, and what it was asked to show."
    )
    about: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": FORMAT,
        "name": one_line(document.name),
        "description": told,
        "version": document.published.last.version if document.published else FIRST_VERSION,
        "license": license_url(document.license) or one_line(document.license),
        "creator": [{**one, "@type": f"sc:{one['@type']}"} for one in creators(document)],
        "citeAs": cited(document),
        "keywords": keywords(document),
    }
    if document.published and document.published.page:
        about["url"] = document.published.page
    if document.date:
        about["datePublished"] = document.date
    place = None if moved else document.published
    about["distribution"] = [
        {
            **_table(MANIFEST_KEY, "a row for each sample of the release", manifest_sha256, place),
            "contentSize": f"{manifest_bytes} B",
        },
        {
            "@type": "cr:FileSet",
            "@id": IMAGES_ID,
            "name": IMAGES_ID,
            "description": f"the images; `path` of `{RECORDS}` has the place and digest of each",
            "encodingFormat": "application/gzip",
            "includes": IMAGES,
        },
    ]
    about["recordSet"] = [
        {
            "@type": "cr:RecordSet",
            "@id": RECORDS,
            "name": RECORDS,
            "description": "the samples in order of their index; images lie at `path`",
            "key": {"@id": f"{RECORDS}/index"},
            "field": [_field(field, RECORDS, MANIFEST_KEY) for field in document.schema],
        }
    ]
    if measured_sha256 is not None:
        table = _table(MEASURED_KEY, "what was measured on each image", measured_sha256, place)
        _add(about, MEASURED, table, measured_schema())
    if regions_sha256 is not None and document.segmentation is not None:
        told = "the label map of each image, and the volumes of its regions"
        table = _table(REGIONS_KEY, told, regions_sha256, place)
        _add(about, REGIONS, table, regions_schema(document.segmentation))
        about["distribution"].append(
            {
                "@type": "cr:FileSet",
                "@id": MAPS_ID,
                "name": MAPS_ID,
                "description": f"the label maps; `path` of `{REGIONS}` has the place and digest of"
                " each",
                "encodingFormat": "application/gzip",
                "includes": f"{MAPS_PREFIX}*/anat/*_dseg.nii.gz",
            }
        )
    return about


def _table(key: str, told: str, sha256: str, place: Published | None) -> dict[str, Any]:
    """A Parquet file of the release."""
    return {
        "@type": "cr:FileObject",
        "@id": key,
        "name": key,
        "description": told,
        "contentUrl": (place.address_of(key) if place else None) or key,
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _add(about: dict[str, Any], name: str, table: dict[str, Any], schema: pa.Schema) -> None:
    """The records of a table that joins the manifest by index."""
    about["distribution"].append(table)
    about["recordSet"].append(
        {
            "@type": "cr:RecordSet",
            "@id": name,
            "name": name,
            "description": f"{table['description']}, by the index of `{RECORDS}`",
            "key": {"@id": f"{name}/index"},
            "field": [_field(field, name, table["@id"]) for field in schema],
        }
    )


def _field(field: pa.Field, records: str, file: str) -> dict[str, Any]:
    metadata = field.metadata or {}
    meaning = metadata.get(b"description", b"").decode() or field.name
    unit = metadata.get(b"unit", b"").decode()
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{field.name}",
        "name": field.name,
        "description": f"{meaning} ({unit})" if unit else meaning,
        "dataType": _data_type(field.type),
        "source": {"fileObject": {"@id": file}, "extract": {"column": field.name}},
    }


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
