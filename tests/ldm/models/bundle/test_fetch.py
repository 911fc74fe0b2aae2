"""Fetching the published bundle: once, whole, checked, and a clear line where it cannot be."""

from __future__ import annotations

import shutil
import sys
import threading
import time
import urllib.error
from pathlib import Path
from typing import Any

import monai.bundle
import pytest

from ldm.errors import LdmError
from ldm.loading import describe, load
from ldm.models.bundle import fetch
from ldm.models.bundle.fetch import NAME, cache_folder, fetched, md5
from ldm.models.bundle.layout import AUTOENCODER, DENOISER
from tests.ldm.bundles import write_bundle


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle in the place of the published one."""
    return write_bundle(tmp_path_factory.mktemp("zoo") / NAME)


class Zoo:
    """MONAI's downloader, as far as `fetch` uses it, over a folder; counts what it was asked."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.asked: list[str] = []
        self.fault: Exception | None = None

    def download(self, *, name: str, bundle_dir: str) -> None:
        self.asked.append(name)
        print("MONAI talks")
        time.sleep(0.05)
        if self.fault:
            raise self.fault
        shutil.copytree(self.source, Path(bundle_dir) / name, dirs_exist_ok=True)


@pytest.fixture
def zoo(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    zoo = Zoo(published)
    monkeypatch.setattr(monai.bundle, "download", zoo.download)
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "cache"))
    sums = {name: md5(published / name) for name in (AUTOENCODER, DENOISER)}
    monkeypatch.setattr(fetch, "PUBLISHED_MD5", sums)
    monkeypatch.setattr("ldm.models.bundle.description.PUBLISHED_MD5", sums)
    return zoo


def test_monai_is_fetched_once_and_then_comes_from_the_cache(
    zoo: Zoo, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = describe("monai")
    assert (description.name, description.card["license"]) == ("pinaya2022", "Apache-2.0")
    said = capsys.readouterr()
    assert said.out == ""
    assert f"fetching {NAME}" in said.err
    model = load("monai", device="cpu", precision="fp32")
    assert (
        model.fingerprint == description.fingerprint == describe(f"monai:{published}").fingerprint
    )
    assert zoo.asked == [NAME]
    assert sorted(path.name for path in cache_folder().iterdir()) == [NAME, "digests", "lock"]


def test_processes_that_want_it_at_once_wait_for_one_that_fetches_it(zoo: Zoo) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetched())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cache_folder() / NAME] * 4
    assert zoo.asked == [NAME]


@pytest.mark.parametrize(
    "fault",
    [
        urllib.error.URLError("Name or service not known"),
        ConnectionError("Max retries exceeded\nwith url"),
        RuntimeError(""),
    ],
    ids=["name", "two-lines", "silent"],
)
def test_offline_one_line_says_what_to_do(zoo: Zoo, fault: Exception) -> None:
    zoo.fault = fault
    with pytest.raises(LdmError) as caught:
        describe("monai")
    line = str(caught.value)
    assert "\n" not in line
    assert f"monai.bundle download --name {NAME}" in line
    assert f"--model monai:{NAME}" in line
    assert caught.value.exit_code == 1
    zoo.fault = None
    assert fetched().is_dir()


@pytest.mark.parametrize("how", ["other", "missing"])
def test_what_is_not_as_published_is_removed_and_told(
    zoo: Zoo, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, zoo.source = zoo.source, shutil.copytree(zoo.source, tmp_path / "bad")
    if how == "other":
        (zoo.source / DENOISER).write_bytes(b"an error page")
    else:
        (zoo.source / DENOISER).unlink()
    with pytest.raises(LdmError, match=r"models/model\.pt.*was removed") as caught:
        fetched()
    assert caught.value.exit_code == 1
    zoo.source = good
    assert fetched() == cache_folder() / NAME


def test_the_cache_is_the_users_and_can_be_put_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("BRAINPRESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "brainpress"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "brainpress"


def test_a_cache_nobody_can_write_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(LdmError, match="set BRAINPRESS_CACHE"):
        fetched()


def test_monai_has_the_downloader_and_what_it_needs() -> None:
    """The call that `fetch` makes, on MONAI's own function; its default source needs the hub."""
    import inspect

    import huggingface_hub

    parameters: dict[str, Any] = dict(inspect.signature(monai.bundle.download).parameters)
    assert {"name", "bundle_dir"} <= parameters.keys()
    assert callable(huggingface_hub.snapshot_download)
    assert "monai.bundle" in sys.modules
