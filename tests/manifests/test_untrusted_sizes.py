"""Releases of strangers that would fill the memory: bombs of gzip, Parquet and JSON."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.json_text import MOST_JSON_BYTES, parse_json
from manifests.format.layout import MANIFEST_KEY, RELEASE_KEY, TARGET_KEY, image_path
from manifests.format.parquet import read_columns, row_count, table_from_bytes
from manifests.ledger import ShardPlan
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.verify import verify
from manifests.volumes.nifti import check_volume
from ray_jobs.cli import main
from tests.manifests.releases import image_bytes, make_release
from tests.memory import peak

GIGABYTE = 2**30
ZEROS = gzip.compress(bytes(2**24), 9, mtime=0)
MOST_MB = 200


def bomb(shape: tuple[int, int, int]) -> bytes:
    """A small file: a header that asks for these sides, and a gigabyte of zeros."""
    head = bytearray(gzip.decompress(image_bytes(0))[:352])
    head[42:48] = np.array(shape, "<i2").tobytes()
    data = gzip.compress(bytes(head), mtime=0) + ZEROS * (GIGABYTE // 2**24)
    assert len(data) < 2_000_000
    return data


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ((10, 12, 8), "it goes on behind its voxels"),
        ((1024, 1024, 512), "its header asks for 1024 x 1024 x 512 voxels"),
        ((32767, 32767, 32767), "its header asks for 32767 x 32767 x 32767 voxels"),
    ],
    ids=["little", "a gigabyte", "70 TB"],
)
def test_an_image_that_unpacks_to_a_gigabyte_is_not_unpacked(
    shape: tuple[int, int, int], problem: str
) -> None:
    with peak() as used:
        assert problem in (check_volume(bomb(shape))[1] or "")
    assert used.mb < MOST_MB


def test_verify_tells_of_a_bomb_among_the_images(tmp_path: Path) -> None:
    store = make_release(tmp_path, 3)
    store.put(image_path(1), bomb((1024, 1024, 512)))
    with peak() as used:
        found = [f for f in verify(Release.open(tmp_path)).findings if f.code == "image-content"]
    assert [f.key for f in found] == [image_path(1)]
    assert used.mb < MOST_MB


def test_an_object_that_is_larger_than_the_manifest_says_is_not_read(place: str) -> None:
    store = make_release(place, 2)
    store.put(image_path(1), bytes(2**26))
    with (
        peak() as used,
        pytest.raises(ReleaseError, match="has 67,108,864 bytes, expected at most"),
    ):
        store.get(image_path(1), most=2295)
    assert used.mb < 20


def dictionary_bomb(rows: int, length: int) -> bytes:
    """One text of this length, and so many rows that point to it."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * length])
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"error": text}).cast(
            pa.schema([("error", pa.dictionary(pa.int32(), pa.string()))])
        ),
        sink,
        compression="zstd",
        store_schema=False,
        dictionary_pagesize_limit=2 * length,
    )
    return sink.getvalue()


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a terabyte of text": (lambda: dictionary_bomb(2**20, 2**20), "when unpacked"),
    "one long text": (lambda: dictionary_bomb(1, 2**27), "when unpacked"),
    "sixteen million rows": (
        lambda: written(pa.table({"index": pa.repeat(0, 2**24)})),
        "expected at most 10,000,000",
    ),
    "lists": (lambda: written(pa.table({"x": [[1] * 9]})), "as no manifest has"),
    "a column twice": (lambda: written(pa.table([[1], [2]], names=["x", "x"])), "column twice"),
}


def written(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize(("make", "line"), BOMBS.values(), ids=BOMBS.keys())
def test_a_few_bytes_of_parquet_do_not_become_many(
    tmp_path: Path, make: Callable[[], bytes], line: str
) -> None:
    data = make()
    assert len(data) < 4_000_000
    pa.default_memory_pool().release_unused()
    store = open_store(tmp_path)
    store.put("x.parquet", data)
    for read in (
        lambda: table_from_bytes(data, "x.parquet"),
        lambda: read_columns(store, "x.parquet"),
    ):
        with peak() as used, pytest.raises(ReleaseError, match="not a readable Parquet") as caught:
            read()
        assert line in str(caught.value)
        assert used.mb < MOST_MB


def test_a_footer_that_lies_about_its_rows_is_told(tmp_path: Path) -> None:
    """The number of rows of the file, a varint in its footer, set to some trillions."""
    data = written(pa.table({"x": list(range(300))}))
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8]
    lied = footer.replace(b"\x16\xd8\x04", b"\x16" + b"\xff" * 6 + b"\x7f")
    assert lied != footer
    whole = data[: -8 - length] + lied + len(lied).to_bytes(4, "little") + b"PAR1"
    store = open_store(tmp_path)
    store.put("x.parquet", whole)
    for read in (
        lambda: table_from_bytes(whole, "x"),
        lambda: row_count(store, "x.parquet"),
    ):
        with peak() as used, pytest.raises(ReleaseError, match="not a readable Parquet"):
            read()
        assert used.mb < MOST_MB


def test_true_rows_are_read() -> None:
    """The limits are far from what a release has."""
    rows = 2**17
    digests = pa.array([f"{number:064x}" for number in range(rows)])
    table = pa.table({"index": np.arange(rows), "sha256": digests, "status": pa.repeat("ok", rows)})
    assert table_from_bytes(written(table), "x").equals(table)


JSON: dict[str, bytes] = {
    "too large": b'{"a": "' + b"x" * MOST_JSON_BYTES + b'"}',
    "too many values": b'{"a": [' + b"[]," * 5_000_000 + b"1]}",
    "too deep": b"[" * 200_000,
    "too deep, of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep enough to stumble later": b'{"a":' * 200 + b"1" + b"}" * 200,
    "a number of many digits": b'{"a": ' + b"9" * 100_000 + b"}",
    "beyond 64 bits": b'{"a": 9223372036854775808}',
    "infinite": b'{"a": 1e999}',
    "not a number": b'{"a": NaN}',
    "half of a pair": b'{"a": "\\udc80"}',
    "no UTF-8": b'{"a": "\xff"}',
    "no object": b"[]",
}


@pytest.mark.parametrize("data", JSON.values(), ids=JSON.keys())
def test_json_that_would_fill_stack_or_memory_is_told(tmp_path: Path, data: bytes) -> None:
    store = make_release(tmp_path, 1)
    with peak() as used, pytest.raises(ReleaseError, match="not JSON that can be read") as caught:
        parse_json(data, "x")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    store.put(RELEASE_KEY, data)
    for verb in ("info", "query", "verify", "status"):
        assert main([verb, store.uri]) == 1
    assert used.mb < MOST_MB


def edited(store: Store, **changes: Any) -> None:
    about = json.loads(store.get(RELEASE_KEY))
    store.put(RELEASE_KEY, json.dumps({**about, **changes}).encode())


CHANGES: dict[str, dict[str, Any]] = {
    "seed": {"seed": "7"},
    "counts": {"counts": {"samples": -1, "ok": 0, "failed": 0, "image_bytes": 0}},
    "model": {"model": {"name": ["x"]}},
    "name": {"name": "x\x1b]0;title\x07"},
    "authors": {"authors": "somebody"},
    "files": {"files": {MANIFEST_KEY: 7}},
    "parts": {"parts": [{"key": "x", "sha256": "0" * 64, "rows": "many"}]},
    "shard size": {"shard_size": 0},
    "columns": {"columns": [{"name": "age", "minimum": "low"}]},
    "levels": {"columns": [{"name": "sex", "kind": "categorical", "levels": ["F\t", "M"]}]},
    "many columns": {"columns": [{"name": f"x{i}"} for i in range(2000)]},
    "date": {"date": "tomorrow"},
    "source": {"source": {"uri": 7, "samples": 1}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_a_field_of_another_kind_is_told_in_one_line(
    tmp_path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path, 1)
    edited(store, **changes)
    for verb in ("info", "query", "verify"):
        assert main([verb, store.uri]) == 1
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "release.json is damaged" in err


def test_a_plan_of_shards_beyond_number_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path, 1)
    store.put(TARGET_KEY, b'{"n": 9000000000000000000}')
    with peak() as used:
        assert main(["status", store.uri]) == 2
    assert "expected at most 10,000,000 in a release" in capsys.readouterr().err
    assert used.mb < MOST_MB
    assert ShardPlan(1_000_000, 8).count == 125_000


def test_digests_fit_so_that_what_is_told_is_not_the_digest(tmp_path: Path) -> None:
    store = make_release(tmp_path, 1)
    data = dictionary_bomb(2**20, 2**20)
    about = json.loads(store.get(RELEASE_KEY))
    edited(store, files={**about["files"], MANIFEST_KEY: sha256(data)})
    store.put(MANIFEST_KEY, data)
    with peak() as used:
        codes = [finding.code for finding in verify(Release.open(tmp_path)).findings]
    assert codes == ["manifest-unreadable"]
    assert used.mb < MOST_MB
