"""A release as a dataset: the voxels, the rows, the cache, and the libraries that train on it."""

from __future__ import annotations

import base64
import gzip
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import image_path
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.volumes.cache import VolumeCache
from manifests.volumes.dataset import Volumes
from manifests.volumes.shards import write_shards
from tests import ROOT
from tests.manifests.releases import SHAPE, image_bytes, make_release
from tests.servers import S3Server


def expected(index: int) -> Any:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(image_bytes(index)))
    return image.get_fdata(dtype=np.float32)[None]


def digests(release: str | Path) -> list[str]:
    return Release.open(release).query()["sha256"].to_pylist()  # type: ignore[no-any-return]


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_volume_is_what_nibabel_reads_and_its_row_what_the_manifest_says(
    place: str, tmp_path: Path
) -> None:
    make_release(place, 6, failed=[2])
    volumes = Volumes(place, cache=tmp_path / "cache")
    assert len(volumes) == 5
    rows = Release.open(place).query("status = 'ok'").to_pylist()
    for (volume, row), told in zip(volumes, rows, strict=True):
        assert volume.dtype == np.float32
        assert volume.shape == (1, *SHAPE)
        np.testing.assert_allclose(volume, expected(told["index"]), rtol=1e-6)
        assert row == {name: told[name] for name in volumes.columns}
    assert volumes.columns == ("participant_id", "sex", "age", "ventricular_volume")
    np.testing.assert_array_equal(volumes.read(0)[1], np.diag([2.0, 2.0, 2.0, 1.0]))
    assert volumes.row(-1) == volumes.row(4)
    with pytest.raises(IndexError):
        volumes[5]


def test_filters_and_columns_are_those_of_query(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 10)
    chosen = Volumes(tmp_path / "r", where="age > 60", columns=["age_scaled", "INDEX"], limit=2)
    told = Release.open(tmp_path / "r").query("age > 60", columns=["age_scaled", "index"], limit=2)
    assert [row for _, row in chosen] == told.to_pylist()
    assert [row["index"] for _, row in Volumes(tmp_path / "r", ids=["3"], columns=["index"])] == [3]
    for mistake, line in (
        ({"where": "age > 1000"}, "no image of .* matches"),
        ({"columns": ["agee"]}, "did you mean"),
        ({"ids": ["77"]}, "no image of sub-000077"),
    ):
        with pytest.raises(ReleaseError, match=line):
            Volumes(tmp_path / "r", **mistake)  # type: ignore[arg-type]


def test_what_was_fetched_once_is_read_from_the_cache(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, cache = f"s3://{bucket}/release", tmp_path / "cache"
    store = make_release(uri, 3)
    first = [volume for volume, _ in Volumes(uri, cache=cache)]
    assert kept(cache) == sorted(f"{digest}.nii.gz" for digest in digests(uri))
    again = Volumes(uri, cache=cache)
    for index in range(3):
        store.delete(image_path(index))
    for volume, before in zip([volume for volume, _ in again], first, strict=True):
        np.testing.assert_array_equal(volume, before)
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "own"))
    store.put(image_path(0), image_bytes(0))
    Volumes(uri)[0]
    assert kept(tmp_path / "own/volumes") == [f"{digests(uri)[0]}.nii.gz"]


def test_a_cached_file_that_rotted_is_fetched_anew(bucket: str, tmp_path: Path) -> None:
    uri, cache = f"s3://{bucket}/release", tmp_path / "cache"
    make_release(uri, 1)
    volumes = Volumes(uri, cache=cache)
    volume, _ = volumes[0]
    (file,) = cache.rglob("*.nii.gz")
    file.write_bytes(b"rotten")
    np.testing.assert_array_equal(volumes[0][0], volume)
    assert file.read_bytes() == image_bytes(0)


def test_an_image_that_is_not_the_manifests_is_told_and_not_cached(
    bucket: str, tmp_path: Path
) -> None:
    uri, cache = f"s3://{bucket}/release", tmp_path / "cache"
    store = make_release(uri, 3)
    store.put(image_path(0), bytes(len(image_bytes(0))))
    store.delete(image_path(1))
    volumes = Volumes(uri, cache=cache)
    with pytest.raises(ReleaseError, match=r"sub-000000_T1w.nii.gz: its SHA-256 is"):
        volumes[0]
    with pytest.raises(ReleaseError, match=r"sub-000001_T1w.nii.gz is missing"):
        volumes[1]
    assert kept(cache) == []


def test_the_cache_is_bounded_keeps_what_it_has_and_drops_what_nobody_used(tmp_path: Path) -> None:
    items = [bytes([number]) * 1000 for number in range(20)]
    cache = VolumeCache(tmp_path, most_bytes=10_500)
    for data in items:
        cache.put(sha256(data), data)
    there = [data for data in items if cache.get(sha256(data)) == data]
    assert there == items[:10]
    old = time.time() - 2 * 24 * 3600
    for data in items[:3]:
        os.utime(next(tmp_path.rglob(f"{sha256(data)}.nii.gz")), (old, old))
    assert cache.get(sha256(items[0])) == items[0]  # used again just now
    later = VolumeCache(tmp_path, most_bytes=10_500)
    for data in items[10:]:
        later.put(sha256(data), data)
    there = [data for data in items if later.get(sha256(data)) == data]
    assert there == [items[0], *items[3:12]]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of some pages, with nothing left."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (place / "others").write_bytes(bytes(64 * 1024))
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def goes_on_without_a_cache(release: Path, cache: Path) -> None:
    """All volumes are read, twice, and one warning says why none is kept."""
    volumes = Volumes(release, cache=cache)
    with pytest.warns(RuntimeWarning, match=r"cache .*: .*; choose another folder") as told:
        epochs = [*volumes, *volumes]
    assert len(told) == 1
    for position, (volume, _) in enumerate(epochs):
        np.testing.assert_allclose(volume, expected(position % len(volumes)), rtol=1e-6)


def test_a_full_cache_disk_ends_no_training_and_leaves_nothing_half_written(
    tmp_path: Path, full_disk: Path
) -> None:
    make_release(tmp_path / "r", 3)
    goes_on_without_a_cache(tmp_path / "r", full_disk / "cache")
    assert kept(full_disk) == ["others"]
    (full_disk / "others").unlink()  # room again
    volumes = Volumes(tmp_path / "r", cache=full_disk / "cache")
    assert len(list(volumes)) == len(kept(full_disk)) == 3


def test_a_disk_that_fills_up_keeps_what_it_has(tmp_path: Path, full_disk: Path) -> None:
    (full_disk / "others").write_bytes(bytes(40 * 1024))
    cache = VolumeCache(full_disk / "cache")
    items = [bytes([number]) * 7000 for number in range(8)]
    with pytest.warns(RuntimeWarning, match="No space left on device") as told:
        list(map(cache.put, map(sha256, items), items))
    assert len(told) == 1
    there = [data for data in items if cache.get(sha256(data)) == data]
    assert there == items[: len(there)]
    assert 0 < len(there) < len(items)
    assert len(kept(full_disk)) == 1 + len(there)


def test_a_cache_that_may_not_grow_ends_no_training(tmp_path: Path) -> None:
    """As of a quota: the system refuses the bytes and not the file."""
    make_release(tmp_path / "r", 2)
    program = (
        "import resource, sys, warnings\n"
        "from manifests import Volumes\n"
        "volumes = Volumes(sys.argv[1], cache=sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "print(sum(volume.size for volume, _ in volumes))\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "r"), str(tmp_path / "cache")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 2 * np.prod(SHAPE)
    assert done.stderr.count("RuntimeWarning: cache") == 1
    assert "File too large" in done.stderr
    assert kept(tmp_path / "cache") == []


def test_a_cache_that_is_no_folder_ends_no_training(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 2)
    (tmp_path / "file").write_text("")
    goes_on_without_a_cache(tmp_path / "r", tmp_path / "file")


def test_a_forked_process_opens_connections_of_its_own(bucket: str, tmp_path: Path) -> None:
    uri = f"s3://{bucket}/release"
    make_release(uri, 2)
    volumes = Volumes(uri, cache=None)
    own = volumes.store
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            same = volumes.store is own
            os.write(writer, f"{same} {float(volumes[1][0].sum()):.6g}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100).decode() == f"False {float(expected(1).sum()):.6g}"
    assert volumes.store is own


def test_it_pickles_without_connections_and_reads_the_same(place: str, tmp_path: Path) -> None:
    make_release(place, 2)
    volumes = Volumes(place, cache=tmp_path / "cache")
    volumes[0]
    copied = pickle.loads(pickle.dumps(volumes))
    np.testing.assert_array_equal(copied[1][0], volumes[1][0])


def test_the_loader_of_torch_takes_it_with_two_workers(bucket: str, tmp_path: Path) -> None:
    torch_data = pytest.importorskip("torch.utils.data")
    uri = f"s3://{bucket}/release"
    make_release(uri, 6)
    volumes = Volumes(uri, columns=["index", "age", "sex"], cache=tmp_path / "cache")
    loader = torch_data.DataLoader(volumes, batch_size=3, num_workers=2)
    batches = list(loader)
    assert [tuple(volume.shape) for volume, _ in batches] == [(3, 1, *SHAPE)] * 2
    assert [index for _, row in batches for index in row["index"].tolist()] == list(range(6))
    assert isinstance(batches[0][1]["sex"], (list, tuple))
    np.testing.assert_allclose(batches[1][0][2].numpy(), expected(5), rtol=1e-6)


def test_it_imports_nothing_of_the_press() -> None:
    program = (
        "import sys, manifests.volumes.dataset, manifests.volumes.shards\n"
        "print({'torch', 'monai', 'ray', 'ldm'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"


def test_a_public_bucket_is_read_without_credentials(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"s3://{s3.make_bucket(public=True)}/release"
    make_release(uri, 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    volumes = Volumes(uri, cache=None)
    np.testing.assert_allclose(volumes[0][0], expected(0), rtol=1e-6)
    assert not open_store(uri).is_local


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page."""
    return [part.partition("```")[0] for part in page.read_text().split("```python\n")[1:]]


@pytest.mark.parametrize("library", ["monai", "torchio", "webdataset"])
def test_the_example_of_the_page_runs_on_s3(s3: S3Server, tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    bucket = s3.make_bucket(public=True)
    make_release(f"s3://{bucket}/release", 4)
    write_shards(Release.open(f"s3://{bucket}/release"), f"s3://{bucket}/release-shards", size=9000)
    ways = (f"import {library}\n", f"from {library}.")
    page = blocks(ROOT / "docs/training-data.md")
    (block,) = [text for text in page if any(way in text for way in ways)]
    assert "s3://bucket/release" in block
    block = block.replace("s3://bucket/", f"s3://{bucket}/")
    block = block.replace("https://bucket.s3.amazonaws.com/", f"{s3.endpoint}/{bucket}/")
    program = tmp_path / "example.py"
    program.write_text(block)
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("torch.Size([2, 1, ") == 2


def test_a_slice_is_the_dataset_of_those_volumes(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 6)
    volumes = Volumes(tmp_path / "r")
    for chosen in (slice(1, 4), slice(None, None, -1), slice(4, None), slice(3, 3)):
        some = volumes[chosen]
        places = list(range(6))[chosen]
        assert [row for _, row in some] == [volumes.row(place) for place in places]
        assert len(some) == len(places)
    np.testing.assert_array_equal(volumes[2:4][1][0], volumes[3][0])
    assert pickle.loads(pickle.dumps(volumes[1:3])).row(1) == volumes.row(2)
    assert len(volumes) == 6


def test_what_it_holds_is_shown(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 6, failed=[2])
    told = repr(Volumes(tmp_path / "r")).splitlines()
    assert told[0] == f"5 volumes of {tmp_path / 'r'}"
    ages = sorted(Release.open(tmp_path / "r").query("status = 'ok'")["age"].to_pylist())
    assert f"age                 {ages[0]:.6g} to {ages[-1]:.6g}" in told
    assert any(line.startswith("sex ") and "F " in line and "M " in line for line in told)
    assert "no value" not in repr(Volumes(tmp_path / "r"))
    shown = repr(Release.open(tmp_path / "r"))
    assert "6 samples" in shown.splitlines()[0]
    assert "ventricular_volume" in shown
    assert shown.splitlines()[-1] == "release.query(limit=5).to_pandas()"


def test_a_notebook_shows_the_first_volume(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 3)
    volumes = Volumes(tmp_path / "r")
    told = volumes._repr_html_()
    assert "3 volumes of" in told
    data = re.search(r"data:image/png;base64,([^']+)'", told)
    assert data is not None
    assert base64.b64decode(data[1]).startswith(b"\x89PNG")
    assert "<img" not in volumes[:0]._repr_html_()


def test_a_notebook_shows_the_samples_of_a_release(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 3)
    release = Release.open(tmp_path / "r")
    assert "<img" not in release._repr_html_()
    (tmp_path / "r" / "previews").mkdir(exist_ok=True)
    (tmp_path / "r" / "previews" / "samples.png").write_bytes(b"\x89PNG picture")
    told = release._repr_html_()
    assert "3 samples" in told
    assert base64.b64encode(b"\x89PNG picture").decode() in told
