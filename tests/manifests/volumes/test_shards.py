"""Tar shards of a release: their bytes, their order, their index, and an interruption."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from manifests.errors import ReleaseError
from manifests.format.layout import image_path
from manifests.format.parquet import table_from_bytes
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.volumes.shard_index import shard_key
from manifests.volumes.shard_plan import plan_shards
from manifests.volumes.shards import place_beside, write_shards
from ray_jobs.cli import main
from tests.manifests.ledger.test_finalise import everything
from tests.manifests.releases import image_bytes, make_release
from tests.memory import peak
from tests.servers import S3Server

SIZE = 12_000  # three samples of the tests' releases


def index_of(uri: str) -> dict[str, object]:
    return json.loads(open_store(uri).get("index.json"))  # type: ignore[no-any-return]


def test_shards_hold_each_image_once_with_its_manifest_row(place: str) -> None:
    make_release(place, 12, failed=[1])
    release = Release.open(place)
    out = place_beside(place)
    done = write_shards(release, out, size=SIZE)
    assert (done.samples, done.written, done.present) == (11, done.shards, 0)
    assert done.shards == 4
    store, rows = open_store(out), {row["index"]: row for row in release.query().to_pylist()}
    found = []
    for shard in index_of(out)["shards"]:  # type: ignore[attr-defined]
        data = store.get(shard["url"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = archive.getmembers()
            assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {
                (0, 0, 0, "", 0o644)
            }
            assert len(members) == 2 * shard["samples"]
            for image, row in zip(members[::2], members[1::2], strict=True):
                told = json.loads(archive.extractfile(row).read())  # type: ignore[union-attr]
                found.append(told["index"])
                assert told == rows[told["index"]]
                key = f"sub-{told['index']:06d}"
                assert (image.name, row.name) == (f"{key}.nii.gz", f"{key}.json")
                content = archive.extractfile(image).read()  # type: ignore[union-attr]
                assert content == image_bytes(told["index"])
    assert sorted(found) == [0, *range(2, 12)]
    assert found != sorted(found)


def test_the_index_finds_one_image_by_a_range_of_bytes(place: str) -> None:
    make_release(place, 6)
    out = place_beside(place)
    write_shards(Release.open(place), out, size=SIZE)
    store = open_store(out)
    data = store.get("index.parquet")
    files = index_of(out)["files"]
    assert files["index.parquet"] == hashlib.sha256(data).hexdigest()  # type: ignore[index]
    rows = table_from_bytes(data, "index").to_pylist()
    assert sorted(row["index"] for row in rows) == list(range(6))
    for row in rows:
        with store.open(row["shard"]) as file:
            file.seek(row["offset"])
            assert file.read(row["bytes"]) == image_bytes(row["index"])
            file.seek(row["json_offset"])
            assert json.loads(file.read(row["json_bytes"]))["participant_id"] == row["key"]


def test_the_same_release_and_seed_give_the_same_bytes_and_another_seed_another_order(
    tmp_path: Path,
) -> None:
    make_release(tmp_path / "release", 9)
    release = Release.open(tmp_path / "release")
    made = {}
    for name, seed, connections in (("a", 3, 1), ("b", 3, 8), ("c", 4, 8)):
        write_shards(release, tmp_path / name, size=SIZE, seed=seed, connections=connections)
        made[name] = everything(open_store(tmp_path / name))
    assert made["a"] == made["b"]
    assert made["a"]["index.parquet"] != made["c"]["index.parquet"]


def test_shards_are_of_nearly_one_size_and_random_samples_of_the_rows(tmp_path: Path) -> None:
    make_release(tmp_path / "release", 200, shard_size=100)
    release = Release.open(tmp_path / "release")
    rows = release.query()
    plan = plan_shards(rows, size=50_000, seed=0, uri="here")
    largest = 1024 + 2560 + 1024
    assert max(plan.sizes) <= 50_000 + largest
    assert max(plan.sizes) - min(plan.sizes) <= 2 * largest
    ages = rows["age"].to_numpy()
    for shard in range(plan.count):
        part = plan.rows.slice(plan.starts[shard], plan.starts[shard + 1] - plan.starts[shard])
        error = ages.std() / np.sqrt(part.num_rows)
        assert abs(part["age"].to_numpy().mean() - ages.mean()) < 4 * error
        assert part["index"].to_pylist() != sorted(part["index"].to_pylist())


def test_only_what_the_filter_keeps_is_written(tmp_path: Path) -> None:
    make_release(tmp_path / "release", 10)
    write_shards(Release.open(tmp_path / "release"), tmp_path / "out", where="sex = 'F'")
    expected = Release.open(tmp_path / "release").query("sex = 'F'")["index"].to_pylist()
    rows = pq.read_table(tmp_path / "out/index.parquet")["index"].to_pylist()
    assert sorted(rows) == expected
    assert 0 < len(expected) < 10


def test_the_same_command_writes_only_the_shards_that_are_missing(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(place, 12)
    out = place_beside(place)
    command = ["shards", place, "--size", "12kB"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("12 images in 5 shards at ")
    store = open_store(out)
    first = everything(store)
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("nothing left to do: 12 images in 5 shards at ")
    store.delete("index.json")
    store.delete(shard_key(1))  # lost
    store.delete(f"{shard_key(2)}.sha256")  # written, but the machine died before its digest
    store.put(shard_key(4), b"cut short")
    assert main(command) == 0
    assert ", 2 shards were there already\n" in capsys.readouterr().out
    assert everything(store) == first


def test_a_kill_in_the_middle_leaves_whole_shards_and_the_same_command_goes_on(
    tmp_path: Path,
) -> None:
    make_release(tmp_path / "release", 12)
    program = (
        "import os, signal, manifests.volumes.shards as s; from manifests import Release\n"
        "def die(done, total, size):\n"
        "    if done == 8: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"s.write_shards(Release.open({str(tmp_path / 'release')!r}),"
        f" {str(tmp_path / 'out')!r}, size={SIZE}, on_progress=die)"
    )
    died = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    there = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert there
    assert not (tmp_path / "out/index.json").exists()
    release = Release.open(tmp_path / "release")
    done = write_shards(release, tmp_path / "out", size=SIZE)
    assert done.present == len(there)
    write_shards(release, tmp_path / "fresh", size=SIZE)
    assert everything(open_store(tmp_path / "out")) == everything(open_store(tmp_path / "fresh"))
    assert not (tmp_path / "out/.incoming").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--seed", "1"], "holds other shards: seed 0, now 1; choose another --out"),
        (["--size", "2GB"], "size 1000000000, now 2000000000"),
        (["--where", "age > 50"], "where None, now 'age > 50'"),
        (["--where", "age > 500"], "matches; try the filter with `query`"),
        (["--where", "agee > 50"], "did you mean"),
        (["--out", "RELEASE"], "is inside the release; shards need another place"),
        (["--out", "RELEASE/shards"], "is inside the release; shards need another place"),
        (["--out", "OTHER"], "holds something else (no plan.json)"),
        (["--size", "0GB"], "'0GB' is no size; expected such as 1GB or 500MB"),
        (["--out", "ftp://there"], "cannot use ftp://"),
    ],
    ids=lambda value: "-".join(value).replace("/", "_") if isinstance(value, list) else "",
)
def test_what_cannot_be_written_is_refused_in_one_line(
    tmp_path: Path, words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "release", 3)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    release = str(tmp_path / "release")
    assert main(["shards", release]) == 0
    before = everything(open_store(tmp_path / "release-shards"))
    capsys.readouterr()
    places = [
        word.replace("RELEASE", release).replace("OTHER", str(tmp_path / "other")) for word in words
    ]
    assert main(["shards", release, *places]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
    assert everything(open_store(tmp_path / "release-shards")) == before
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]


def test_a_whole_bucket_has_nothing_beside_it() -> None:
    with pytest.raises(ReleaseError, match="say where the shards go with --out"):
        place_beside("s3://bucket")


@pytest.mark.parametrize(
    ("harm", "line"), [("rotten", "its SHA-256 is"), ("gone", "is missing from the release")]
)
def test_a_broken_image_is_told_and_in_no_shard(tmp_path: Path, harm: str, line: str) -> None:
    store = make_release(tmp_path / "release", 3)
    if harm == "gone":
        store.delete(image_path(1))
    else:
        store.put(image_path(1), bytes(len(image_bytes(1))))
    with pytest.raises(ReleaseError, match=line) as told:
        write_shards(Release.open(tmp_path / "release"), tmp_path / "out")
    assert told.value.exit_code == 1
    assert image_path(1) in str(told.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["plan.json"]
    store.put(image_path(1), image_bytes(1))
    assert write_shards(Release.open(tmp_path / "release"), tmp_path / "out").written == 1


def test_a_shard_larger_than_memory_allows_is_never_in_memory(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """120 MB in one shard, from the disk to S3."""
    from tests.manifests import releases

    monkeypatch.setattr(releases, "image_bytes", lambda index: os.urandom(10_000_000))
    make_release(tmp_path / "release", 12)
    release = Release.open(tmp_path / "release")
    with peak() as took:
        done = write_shards(release, f"s3://{bucket}/shards", connections=2)
    assert done.shards == 1
    assert done.size > 120e6
    assert took.mb < 70


def test_the_webdataset_library_reads_a_public_bucket_without_credentials(s3: S3Server) -> None:
    webdataset = pytest.importorskip("webdataset")
    bucket = s3.make_bucket(public=True)
    make_release(f"s3://{bucket}/release", 5)
    write_shards(Release.open(f"s3://{bucket}/release"), f"s3://{bucket}/shards", size=SIZE)
    base = f"{s3.endpoint}/{bucket}/shards"
    with urllib.request.urlopen(f"{base}/index.json", timeout=20) as answer:
        index = json.load(answer)
    urls = [f"{base}/{shard['url']}" for shard in index["shards"]]
    found = {}
    for sample in webdataset.WebDataset(urls, shardshuffle=False):
        row = json.loads(sample["json"])
        assert sample["__key__"] == row["participant_id"]
        found[row["index"]] = sample["nii.gz"]
    assert found == {index: image_bytes(index) for index in range(5)}
