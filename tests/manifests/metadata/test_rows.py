"""Rows on their way into a finished release: the same bytes however many come at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from manifests.format.layout import MANIFEST_KEY, PARTICIPANTS_KEY
from manifests.format.parquet import ROW_GROUP_ROWS, parquet_bytes
from manifests.format.schema import rows_table
from manifests.metadata.bids import participants_tsv
from manifests.metadata.rows import RowFiles
from manifests.storage import open_store
from tests.manifests.releases import COLUMNS, SCHEMA, row


def rows(count: int) -> pa.Table:
    """More than a row group of rows, every fifth of them failed; they repeat after a while."""
    some = [row(i, None if i % 5 == 4 else b"%d" % i) for i in range(1000)]
    table = pa.concat_tables([rows_table(some, SCHEMA)] * (count // 1000 + 1)).slice(0, count)
    numbers = pa.array(range(count), pa.int64())
    return table.set_column(0, SCHEMA.field("index"), numbers)


@pytest.mark.parametrize("at_a_time", [100, 50_000, 200_000])
def test_the_files_do_not_depend_on_how_many_rows_come_at_a_time(at_a_time: int) -> None:
    table = rows(2 * ROW_GROUP_ROWS + 777)
    with RowFiles(SCHEMA, COLUMNS) as files:
        for start in range(0, table.num_rows, at_a_time):
            files.add(table.slice(start, at_a_time))
        written = {key: path.read_bytes() for key, path in files.close().items()}
    assert written[MANIFEST_KEY] == parquet_bytes(table)
    assert written[PARTICIPANTS_KEY] == participants_tsv(table, COLUMNS)
    failed = sum(status == "failed" for status in table["status"].to_pylist())
    assert files.counts == {
        "samples": table.num_rows,
        "ok": table.num_rows - failed,
        "failed": failed,
        "image_bytes": sum(filter(None, table["bytes"].to_pylist())),
    }


def test_no_rows_are_a_manifest_too() -> None:
    with RowFiles(SCHEMA, COLUMNS) as files:
        written = files.close()[MANIFEST_KEY].read_bytes()
    assert written == parquet_bytes(SCHEMA.empty_table())


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with RowFiles(SCHEMA, COLUMNS) as files:
        files.add(rows(100))
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_file_is_stored_as_its_bytes_are(place: str, tmp_path: Path) -> None:
    store, path = open_store(place), tmp_path / "file"
    path.write_bytes(b"0123456789" * 300_000)
    store.put_file("manifest.parquet", path)
    assert store.get("manifest.parquet") == path.read_bytes()
    path.write_bytes(b"another")
    store.put_file("manifest.parquet", path)
    assert [(entry.key, entry.size) for entry in store.list()] == [("manifest.parquet", 7)]
