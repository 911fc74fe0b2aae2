"""Releases of centred volumes: valid BIDS that claims no template's space, and is held to that."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from manifests.commands.info import _describe
from manifests.errors import ReleaseError
from manifests.format.document import ReleaseDocument
from manifests.format.layout import image_path
from manifests.format.schema import rows_table
from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.verify import verify
from tests.manifests.ledger.test_finalise import bids_errors
from tests.manifests.releases import SCHEMA, document, image_bytes, row

MNI, ALIGNED, SCANNER = 4, 2, 1


def coded(index: int, code: int) -> bytes:
    """An image whose header names this space."""
    data = bytearray(gzip.decompress(image_bytes(index)))
    data[252:256] = 2 * struct.pack("<h", code)  # qform_code, sform_code
    return gzip.compress(data, compresslevel=0, mtime=0)


def release(folder: Path, code: int, **changes: Any) -> Store:
    store = open_store(folder)
    images = [coded(index, code) for index in range(3)]
    for index, data in enumerate(images):
        store.put(image_path(index), data)
    rows = [row(index, data) for index, data in enumerate(images)]
    write_release(store, rows_table(rows, SCHEMA), document(**changes))
    return store


def problems(store: Store) -> list[tuple[str, str]]:
    return [(found.code, found.text) for found in verify(Release.open(store.uri)).findings]


@pytest.mark.parametrize("code", [ALIGNED, SCANNER])
def test_a_release_of_a_centred_model_is_valid_bids_and_says_no_mni(
    tmp_path: Path, code: int
) -> None:
    store = release(tmp_path / "r", code, space="centred")
    assert bids_errors(store.uri) == ""
    assert problems(store) == []
    about = json.loads(store.get("release.json"))
    assert about["space"] == "centred"
    for key in ("README.md", "T1w.json", "croissant.json"):
        text = store.get(key).decode()
        assert "in no template's space" in text, key
    for key in ("dataset_description.json", "participants.json", "CHANGES", "CITATION.cff"):
        assert b"MNI" not in store.get(key)
    assert "in no template's space" in _describe(Release.open(store.uri))


def test_headers_that_claim_a_template_are_found_where_the_release_claims_none(
    tmp_path: Path,
) -> None:
    found = problems(release(tmp_path / "r", MNI, space="centred"))
    assert len(found) == 3
    told = "its sform and qform codes are 4 and 4, a template's space; release.json says 'centred'"
    assert found[0] == ("image-header", told)


@pytest.mark.parametrize("code", [MNI, ALIGNED])
def test_a_release_that_says_no_space_is_verified_as_before(tmp_path: Path, code: int) -> None:
    store = release(tmp_path / "r", code)
    assert problems(store) == []
    assert "space" not in json.loads(store.get("release.json"))
    assert "template" not in store.get("README.md").decode()
    assert json.loads(store.get("T1w.json"))["Description"].endswith("a generative model")


def test_the_space_is_read_again_and_must_be_text(tmp_path: Path) -> None:
    store = release(tmp_path / "r", ALIGNED, space="centred")
    about = json.loads(store.get("release.json"))
    assert ReleaseDocument.from_json(about).space == "centred"
    store.put("release.json", json.dumps({**about, "space": 7}).encode())
    with pytest.raises(ReleaseError, match="space is 7, expected a line of text"):
        Release.open(store.uri)
