"""Reading a manifest back, from a folder and from S3."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from manifests.errors import ReleaseError
from manifests.format.release_json import read_release
from manifests.ledger import Ledger
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from tests.manifests.releases import SCHEMA, make_release, row


def test_a_query_gives_the_rows_and_columns_asked_for(place: str) -> None:
    make_release(place, 10, failed=[4])
    release = Release.open(place)
    assert release.schema.equals(SCHEMA, check_metadata=True)
    expected = [row(index) for index in range(10)]
    table = release.query("age > 60 and sex = 'F'", columns=["age", "participant_id", "AGE"])
    assert table.column_names == ["age", "participant_id"]
    assert table.to_pylist() == [
        {"age": one["age"], "participant_id": one["participant_id"]}
        for one in expected
        if one["age"] > 60 and one["sex"] == "F"
    ]
    assert release.query()["index"].to_pylist() == list(range(10))
    assert release.query("status = 'failed'")["index"].to_pylist() == [4]
    assert release.query(limit=3)["index"].to_pylist() == [0, 1, 2]
    assert release.query("index > 5", limit=2)["index"].to_pylist() == [6, 7]


def test_units_and_meanings_come_with_the_rows(tmp_path: Path) -> None:
    make_release(tmp_path, 2)
    field = Release.open(tmp_path).query().schema.field("ventricular_volume")
    assert field.metadata[b"unit"] == b"mm3"


def test_stored_files_are_read_in_the_callers_thread_alone(tmp_path: Path) -> None:
    """An Arrow thread that holds one while the interpreter ends aborts the whole process."""
    make_release(tmp_path, 10)
    threads = set()

    class File(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            threads.add(threading.get_ident())
            return super().read(size)

        def close(self) -> None:
            threads.add(threading.get_ident())
            super().close()

    class Watched(LocalStore):
        def open(self, key: str) -> BinaryIO:
            return File(self.get(key))

        def get(self, key: str, *, most: int | None = None) -> bytes:
            return (self.folder / key).read_bytes()

    store = Watched(tmp_path)
    release = Release(store, read_release(store))
    assert release.query("age > 0", columns=["sex"]).num_rows == 10
    assert Ledger(store)._count_rows(next(store.list("manifest/part-"))) == 4
    assert threads == {threading.get_ident()}


def test_a_query_that_cannot_be_understood_is_told(tmp_path: Path) -> None:
    make_release(tmp_path, 2)
    release = Release.open(tmp_path)
    for where, columns, limit, line in (
        ("agee > 1", None, None, "did you mean age"),
        (None, ["age", "sxe"], None, "did you mean sex"),
        (None, None, -1, "expected 0 or more"),
    ):
        with pytest.raises(ReleaseError, match=line):
            release.query(where, columns=columns, limit=limit)


def test_a_release_without_its_manifest_says_so(tmp_path: Path) -> None:
    make_release(tmp_path, 2).delete("manifest.parquet")
    with pytest.raises(ReleaseError, match=r"manifest\.parquet is missing"):
        Release.open(tmp_path).query()


def test_a_damaged_manifest_says_so(tmp_path: Path) -> None:
    store = make_release(tmp_path, 2)
    data = store.get("manifest.parquet")
    store.put("manifest.parquet", data[: len(data) // 2])
    with pytest.raises(ReleaseError, match="not a readable Parquet file"):
        Release.open(tmp_path).query()


@pytest.mark.parametrize("name", ["columns", "counts", "files", "parts", "software", "model"])
def test_a_release_json_that_lacks_a_part_says_so(tmp_path: Path, name: str) -> None:
    make_release(tmp_path, 1)
    about = read_release(open_store(tmp_path))
    del about[name]
    with pytest.raises(ReleaseError, match=r"release\.json is damaged"):
        Release(open_store(tmp_path), about)
