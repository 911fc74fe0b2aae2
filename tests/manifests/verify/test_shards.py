"""What `verify` finds wrong with a set of tar shards."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.errors import ReleaseError
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.verify.findings import Report
from manifests.verify.shards import verify_shards
from manifests.volumes.shard_index import INDEX_KEY, TABLE_KEY, read_index
from manifests.volumes.shards import write_shards
from ray_jobs.cli import main
from tests.manifests.releases import make_release

SHARD = "shard-000001.tar"
CODES = {"shards-damaged", "shard-missing", "shard-changed", "shard-images"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_release(tmp_path / "r", 12)
    write_shards(Release.open(tmp_path / "r"), tmp_path / "s", size=12_000)
    return tmp_path / "s"


def checked(folder: Path) -> Report:
    index = read_index(open_store(folder))
    assert index is not None
    return verify_shards(open_store(folder), index)


def renamed(folder: Path, key: str) -> None:
    """index.json takes what lies at `key` for the right file."""
    digest = hashlib.sha256((folder / key).read_bytes()).hexdigest()
    index = json.loads((folder / INDEX_KEY).read_text())
    if key in index["files"]:
        index["files"][key] = digest
    for shard in index["shards"]:
        if shard["url"] == key:
            shard |= {"sha256": digest, "bytes": (folder / key).stat().st_size}
            (folder / f"{key}.sha256").write_text(f"{digest}  {key}\n")
    (folder / INDEX_KEY).write_text(json.dumps(index))


def flipped(folder: Path, at: int) -> None:
    data = bytearray((folder / SHARD).read_bytes())
    data[at] ^= 1
    (folder / SHARD).write_bytes(data)


def _other_image(folder: Path) -> None:
    flipped(folder, 1000)
    renamed(folder, SHARD)


def _one_too_few(folder: Path) -> None:
    with tarfile.open(folder / SHARD) as archive:
        end = archive.getmembers()[-2].offset
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:end] + bytes(1024))
    renamed(folder, SHARD)


def _a_link(folder: Path) -> None:
    """The first image's header says that it is a link to another file."""
    data = bytearray((folder / SHARD).read_bytes())
    member = tarfile.TarInfo.frombuf(bytes(data[:512]), "utf-8", "strict")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    data[:512] = member.tobuf(tarfile.USTAR_FORMAT)[:512]
    (folder / SHARD).write_bytes(data)
    renamed(folder, SHARD)


def _no_archive(folder: Path) -> None:
    (folder / SHARD).write_bytes(b"x" * 3000)
    renamed(folder, SHARD)


def _other_rows(folder: Path) -> None:
    table = pq.read_table(folder / TABLE_KEY)
    offsets = [offset + 512 for offset in table["offset"].to_pylist()]
    place = table.schema.get_field_index("offset")
    pq.write_table(table.set_column(place, "offset", pa.array(offsets)), folder / TABLE_KEY)
    renamed(folder, TABLE_KEY)


def _rows_of_nothing(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / TABLE_KEY).drop_columns(["key"]), folder / TABLE_KEY)
    renamed(folder, TABLE_KEY)


def _no_table(folder: Path) -> None:
    (folder / TABLE_KEY).write_bytes(b"PAR1")
    renamed(folder, TABLE_KEY)


WAYS: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "a bit of a shard": (lambda f: flipped(f, 1000), [("shard-changed", SHARD)]),
    "a longer shard": (
        lambda f: (f / SHARD).write_bytes((f / SHARD).read_bytes() + b"x"),
        [("shard-changed", SHARD)],
    ),
    "a shorter shard": (
        lambda f: (f / SHARD).write_bytes((f / SHARD).read_bytes()[:-512]),
        [("shard-changed", SHARD)],
    ),
    "no shard": (lambda f: (f / SHARD).unlink(), [("shard-missing", SHARD)]),
    "another image": (_other_image, [("shard-images", SHARD)]),
    "an image too few": (_one_too_few, [("shard-images", SHARD)]),
    "a link for an image": (_a_link, [("shard-images", SHARD)]),
    "no archive": (_no_archive, [("shard-images", SHARD)]),
    "no table": (_no_table, [("shards-damaged", TABLE_KEY)]),
    "another table": (_rows_of_nothing, [("shards-damaged", TABLE_KEY)]),
    "a line in the card": (
        lambda f: (f / "README.md").write_text("x"),
        [("file-changed", "README.md")],
    ),
    "no licence": (lambda f: (f / "LICENSE").unlink(), [("file-missing", "LICENSE")]),
    "another digest beside": (
        lambda f: (f / f"{SHARD}.sha256").write_text("0" * 64),
        [("file-changed", f"{SHARD}.sha256")],
    ),
    "a stranger": (lambda f: (f / "x.csv").write_text("x"), [("file-unlisted", "x.csv")]),
}


def test_sound_shards_are_sound(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = checked(folder)
    assert (report.findings, report.images, report.samples) == ([], 12, 12)
    digest = hashlib.sha256((folder / INDEX_KEY).read_bytes()).hexdigest()
    assert main(["verify", str(folder), "--expect", digest]) == 0
    assert main(["verify", str(folder), "--expect", "0" * 64]) == 1
    assert main(["verify", str(folder), "--sample", "2"]) == 2
    assert "is read whole" in capsys.readouterr().err


@pytest.mark.parametrize("way", WAYS)
def test_each_harm_is_found_and_nothing_else(folder: Path, way: str) -> None:
    harm, expected = WAYS[way]
    harm(folder)
    assert [(finding.code, finding.key) for finding in checked(folder).findings] == expected


def test_a_table_of_other_places_is_of_no_shard(folder: Path) -> None:
    _other_rows(folder)
    assert {finding.code for finding in checked(folder).findings} == {"shard-images"}


@pytest.mark.parametrize(
    "change",
    [
        {"shards": 3},
        {"files": {"../x": "0" * 64}},
        {"files": {"x": "no digest"}},
        {"shards": [{"url": "../release.json", "bytes": 1, "samples": 1, "sha256": "0" * 64}]},
        {"shards": [{"url": SHARD, "bytes": "1", "samples": 1, "sha256": "0" * 64}]},
        {"license": "a\x1b[31mb"},
    ],
)
def test_an_index_of_another_shape_is_one_line(
    folder: Path, change: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    index = json.loads((folder / INDEX_KEY).read_text())
    (folder / INDEX_KEY).write_text(json.dumps({**index, **change}))
    with pytest.raises(ReleaseError, match="is damaged"):
        read_index(open_store(folder))
    assert main(["verify", str(folder)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "index.json is damaged" in line
