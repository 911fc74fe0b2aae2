"""What a check finds sound is remembered, and read again when it changed or when all is asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.query.release import Release
from manifests.storage.base import Store
from manifests.verify import Report, verify
from tests.manifests.releases import make_release
from tests.web_servers import Azure, serving

N = 12
IMAGES = ".nii.gz"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "cache"))


def read_images(monkeypatch: pytest.MonkeyPatch, store: Store) -> list[str]:
    """The keys of images that are read from now on, as they are."""
    read: list[str] = []
    get = type(store).get_with_etag

    def told(self: Store, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        if key.endswith(IMAGES):
            read.append(key)
        return get(self, key, most=most)

    monkeypatch.setattr(type(store), "get_with_etag", told)
    return read


def checked(place: str, *, trusting: bool) -> Report:
    return verify(Release.open(place), trusting=trusting)


def test_what_was_found_sound_is_not_read_again_until_it_changes(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_release(place, N)
    first = checked(place, trusting=True)
    assert (first.ok, first.images, first.remembered) == (True, N, 0)
    read = read_images(monkeypatch, store)
    again = checked(place, trusting=True)
    assert (again.ok, again.images, again.remembered, read) == (True, N, N, [])
    key = Release.open(place).query(columns=["path"])["path"].to_pylist()[3]
    store.put(key, store.get(key)[:-1] + b"x")
    read.clear()
    changed = checked(place, trusting=True)
    assert (changed.ok, changed.remembered, read) == (False, N - 1, [key])
    assert {finding.key for finding in changed.findings} == {key}
    # What is not sound is not remembered.
    assert not checked(place, trusting=True).ok


def test_a_check_that_trusts_nothing_finds_what_the_storage_does_not_tell(tmp_path: Path) -> None:
    store = make_release(tmp_path / "release", N)
    assert checked(store.uri, trusting=False).ok
    key = Release.open(store.uri).query(columns=["path"])["path"].to_pylist()[0]
    path = Path(store.uri, key)
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # a bit that the disk lost: same size, same time
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not checked(store.uri, trusting=False).ok


def test_publishing_again_under_another_name_reads_no_image(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_release(place, N)
    options = PublishOptions(
        license="CC-BY-4.0", authors=("The Example Lab",), date="2026-01-01", viewer="none"
    )
    assert publish(Release.open(place), options, page=lambda *_: {}).report.ok
    read = read_images(monkeypatch, store)
    named = PublishOptions(name="Another name", date="2026-01-02", viewer="none")
    done = publish(Release.open(place), named, page=lambda *_: {})
    assert (done.report.images, done.report.remembered, read) == (N, N, [])
    assert Release.open(place).document.name == "Another name"
    done = publish(Release.open(place), named, page=lambda *_: {}, trusting=False)
    assert (done.report.remembered, len(read)) == (0, N)


def test_a_killed_check_goes_on(tmp_path: Path) -> None:
    store = make_release(tmp_path / "release", 200)
    program = """
import sys, time
from manifests.query.release import Release
from manifests.storage.local import LocalStore
from manifests.verify import verify
get = LocalStore.get_with_etag
def slow(self, key, *, most=None):
    time.sleep(0.02 if key.endswith(".nii.gz") else 0)
    return get(self, key, most=most)
LocalStore.get_with_etag = slow
verify(Release.open(sys.argv[1]), connections=1, on_progress=lambda *done: print(done, flush=True))
"""
    command = [sys.executable, "-c", program, store.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        for _ in range(5):
            killed.stdout.readline()
        killed.send_signal(signal.SIGKILL)
    report = checked(store.uri, trusting=True)
    assert report.ok
    assert 20 <= report.remembered < 200


def test_without_a_cache_that_can_be_used_everything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_release(tmp_path / "release", N)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        report = checked(store.uri, trusting=True)
        assert (report.ok, report.remembered) == (True, 0)


def test_a_cache_that_is_no_database_is_passed_over(tmp_path: Path) -> None:
    store = make_release(tmp_path / "release", N)
    assert checked(store.uri, trusting=True).ok
    (database,) = (tmp_path / "cache" / "checked").iterdir()
    database.write_bytes(b"torn" * 1000)
    assert [checked(store.uri, trusting=True).remembered for _ in range(3)] == [0, 0, N]


def test_what_is_remembered_of_a_bucket_is_not_taken_for_that_of_another_server(
    tmp_path: Path,
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make_release(one, N)
    shutil.copytree(one, other)
    image = next(other.rglob(f"*{IMAGES}"))
    times = image.stat()
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    with serving(one, Azure) as first, serving(other, Azure) as second:
        for server, ok in ((first, True), (first, True), (second, False)):
            release = Release.open("az://brains", endpoint_url=f"{server.url}/account")
            assert verify(release, trusting=True).ok is ok
