"""croissant.json: the reference implementation takes it and reads the manifest's rows by it."""

from __future__ import annotations

import json
from pathlib import Path

import mlcroissant
import pyarrow.parquet as pq

from manifests.digests import file_sha256, sha256
from manifests.format.layout import CROISSANT_KEY, MANIFEST_KEY
from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage.local import LocalStore
from tests.manifests.releases import SCHEMA, document, make_release


def test_mlcroissant_validates_it_and_reads_every_row(tmp_path: Path) -> None:
    make_release(tmp_path, 6, failed=[2])
    dataset = mlcroissant.Dataset(jsonld=tmp_path / CROISSANT_KEY)
    assert not dataset.metadata.issues.errors
    records = list(dataset.records(record_set="manifest"))
    rows = pq.read_table(tmp_path / MANIFEST_KEY).to_pylist()
    assert len(records) == len(rows) == 6
    for record, row in zip(records, rows, strict=True):
        assert list(record) == [f"manifest/{name}" for name in SCHEMA.names]
        plain = [value.decode() if isinstance(value, bytes) else value for value in record.values()]
        assert plain == [None if value is None else value for value in row.values()]


def test_a_date_leaves_nothing_to_wish_for(tmp_path: Path) -> None:
    make_release(tmp_path / "first", 2)
    rows = Release.open(tmp_path / "first").query()
    write_release(LocalStore(tmp_path / "dated"), rows, document(date="2026-11-23"))
    issues = mlcroissant.Dataset(jsonld=tmp_path / "dated" / CROISSANT_KEY).metadata.issues
    assert not issues.errors
    assert not issues.warnings


def test_it_tells_meaning_unit_and_digest(tmp_path: Path) -> None:
    store = make_release(tmp_path, 3)
    about = json.loads(store.get(CROISSANT_KEY))
    assert about["description"].startswith("This is a demonstration")
    assert about["license"] == "https://creativecommons.org/licenses/by-sa/3.0/legalcode"
    manifest, images = about["distribution"]
    assert (images["@type"], images["includes"]) == ("cr:FileSet", "sub-*/anat/*.nii.gz")
    assert manifest["sha256"] == file_sha256(tmp_path / MANIFEST_KEY)
    (records,) = about["recordSet"]
    fields = {field["name"]: field for field in records["field"]}
    assert fields["ventricular_volume"]["description"].endswith("lateral ventricles (mm3)")
    assert fields["extrapolated"]["dataType"] == "sc:Boolean"
    release = json.loads(store.get("release.json"))
    assert release["files"][CROISSANT_KEY] == sha256(store.get(CROISSANT_KEY))
