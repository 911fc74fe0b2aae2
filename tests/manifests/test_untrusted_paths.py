"""No key of a manifest and no link in a folder leads a command out of where it should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import MANIFEST_KEY, RELEASE_KEY, image_path
from manifests.format.parquet import parquet_bytes
from manifests.query.release import Release
from manifests.storage import confined
from manifests.storage.base import Store, check_key
from manifests.storage.confined import directory_inside, open_inside
from manifests.storage.local import SIDE_FOLDER, LocalStore
from ray_jobs.cli import main
from tests.manifests.releases import image_bytes, make_release

KEYS = {
    "up": "../escaped",
    "up from within": "sub-000000/../../escaped",
    "up at the end": "sub-000000/..",
    "absolute": "/tmp/escaped",
    "drive": "C:/escaped",
    "drive alone": "C:escaped",
    "backslashes": "..\\escaped",
    "a share": "\\\\host\\share",
    "nul": "sub-000000\x00.nii.gz",
    "newline": "sub-000000\n.nii.gz",
    "escape": "\x1b[2J",
    "right to left": "sub-\u202egz.iin",
    "half a pair": "sub-\ud800",
    "trailing dot": "sub-000000./x",
    "trailing space": "sub-000000 /x",
    "stream": "x:hidden",
    "empty": "",
    "long": "a/" * 600 + "x",
}
every_key = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())


@every_key
def test_a_key_that_leaves_the_release_is_refused(place: str, key: str) -> None:
    from manifests.storage import open_store

    store = open_store(place)
    acts: list[Callable[[], object]] = [
        lambda: check_key(key),
        lambda: store.get(key),
        lambda: store.open(key),
        lambda: store.put(key, b"x"),
        lambda: store.put_if_absent(key, b"x"),
        lambda: store.replace(key, b"x", etag="1"),
        lambda: store.delete(key),
    ]
    for act in acts:
        with pytest.raises(ReleaseError, match="no key of a release") as caught:
            act()
        assert str(caught.value).isprintable()
    assert not store.is_local or not Path(place).parent.joinpath("escaped").exists()


def with_path(store: Store, path: str | None) -> None:
    """Let the manifest's first row name `path`, with every digest made to fit."""
    table = Release.open(store.uri).query()
    column = pa.array([path, *table["path"].to_pylist()[1:]], pa.string())
    data = parquet_bytes(table.set_column(2, table.schema.field("path"), column))
    about = json.loads(store.get(RELEASE_KEY))
    about["files"][MANIFEST_KEY] = sha256(data)
    store.put(MANIFEST_KEY, data)
    store.put(RELEASE_KEY, json.dumps(about).encode())


@pytest.mark.parametrize("key", [*KEYS.values(), ".git/config", "release.json", image_path(1)])
def test_no_verb_follows_a_manifest_out_of_the_release(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "\ud800" in key:
        pytest.skip("Parquet cannot hold half of a pair")
    store = make_release(tmp_path / "release", 2, shard_size=2)
    with_path(store, key)
    (tmp_path / "escaped").write_bytes(image_bytes(0))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    assert main(["download", store.uri, str(out), "--existing", "overwrite"]) == 1
    assert "sample 0 lies at" in capsys.readouterr().err
    assert main(["verify", store.uri]) == 1
    assert "row-path" in capsys.readouterr().err
    assert main(["info", store.uri]) == 0
    assert main(["query", store.uri, "--columns", "path"]) == 0
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.splitlines())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not out.exists()


@every_key
def test_a_release_json_cannot_name_files_elsewhere(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path / "release", 2, shard_size=2)
    original: dict[str, Any] = json.loads(store.get(RELEASE_KEY))
    for change in (
        {"files": {**original["files"], key: "0" * 64}},
        {"parts": [{**original["parts"][0], "key": key}]},
    ):
        store.put(RELEASE_KEY, json.dumps({**original, **change}).encode())
        for verb in ("info", "query", "verify", "status"):
            assert main([verb, store.uri]) == 1
            err = capsys.readouterr().err
            assert err.count("\n") == 1
            assert err[:-1].isprintable()


@pytest.fixture
def linked(tmp_path: Path) -> tuple[LocalStore, Path]:
    """A release, and a folder outside of it with a file that is none of its business."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store = make_release(tmp_path / "release", 2, shard_size=2)
    assert isinstance(store, LocalStore)
    return store, outside


def test_a_link_out_of_the_release_is_not_read(
    linked: tuple[LocalStore, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    store, outside = linked
    image = store.folder / image_path(0)
    image.unlink()
    image.symlink_to(outside / "secret")
    with pytest.raises(ReleaseError, match="A link leads out of the folder"):
        store.get(image_path(0))
    assert main(["verify", store.uri]) == 1
    assert f"image-key {image_path(0)}: cannot read" in capsys.readouterr().err
    assert main(["download", store.uri, str(outside / "copy")]) == 1
    assert "A link leads out of the folder" in capsys.readouterr().err
    assert not (outside / "copy" / image_path(0)).exists()


@pytest.mark.parametrize("handles", [True, False], ids=["by handle", "by path, as on Windows"])
def test_a_folder_that_is_a_link_out_is_not_read_or_written(
    linked: tuple[LocalStore, Path], monkeypatch: pytest.MonkeyPatch, handles: bool
) -> None:
    assert confined._HANDLES
    monkeypatch.setattr(confined, "_HANDLES", handles)
    store, outside = linked
    store.put("sub-000005/anat/x", b"x")
    assert store.get("sub-000005/anat/x") == b"x"
    (store.folder / "linked").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ReleaseError, match="A link leads out of the folder"):
        store.get("linked/secret")
    for act in (
        lambda: store.put("linked/new", b"x"),
        lambda: store.put_if_absent("linked/new", b"x"),
        lambda: store.replace("linked/secret", b"x", etag="1"),
        lambda: store.delete("linked/secret"),
    ):
        with pytest.raises(ReleaseError, match="A link stands in the way"):
            act()
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret": b"secret"}
    assert list((store.folder / SIDE_FOLDER).iterdir()) == []


def test_a_link_in_the_place_of_an_image_is_replaced_and_not_written_through(
    linked: tuple[LocalStore, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, outside = linked
    out = tmp_path / "out"
    (out / image_path(0)).parent.mkdir(parents=True)
    (out / image_path(0)).symlink_to(outside / "secret")
    assert main(["download", store.uri, str(out)]) == 2
    assert "is there and is not the release's file" in capsys.readouterr().err
    LocalStore(out).put(image_path(0), b"new")
    assert (outside / "secret").read_bytes() == b"secret"
    assert not (out / image_path(0)).is_symlink()


def test_a_subject_folder_that_is_a_link_out_stops_a_download(
    linked: tuple[LocalStore, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, outside = linked
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub-000000").symlink_to(outside, target_is_directory=True)
    assert main(["download", store.uri, str(out), "--existing", "overwrite"]) == 1
    assert "A link stands in the way" in capsys.readouterr().err
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_side_folder_that_is_a_link_out_is_not_written_or_swept(
    linked: tuple[LocalStore, Path],
) -> None:
    store, outside = linked
    (store.folder / SIDE_FOLDER).symlink_to(outside, target_is_directory=True)
    os.utime(outside / "secret", (0, 0))
    with pytest.raises(ReleaseError, match="A link stands in the way"):
        store.put("x", b"x")
    store.sweep()
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_link_to_another_file_of_the_release_is_read(linked: tuple[LocalStore, Path]) -> None:
    """As git-annex and DataLad lay out a dataset."""
    store, _ = linked
    image = store.folder / image_path(0)
    kept = store.folder / ".annex" / "object"
    kept.parent.mkdir()
    image.rename(kept)
    image.symlink_to(Path("../../.annex/object"))
    assert store.get(image_path(0)) == image_bytes(0)


def test_a_link_that_is_swapped_in_while_a_file_is_opened_is_noticed(
    linked: tuple[LocalStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that was opened is compared with the one that was judged."""
    store, outside = linked
    place = store.folder / "README.md"
    real = place.read_bytes()
    opened = os.open

    def swapping(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        place.unlink()
        place.symlink_to(outside / "secret")
        handle = opened(path, flags, *rest, **named)
        place.unlink()
        place.write_bytes(real)
        return handle

    monkeypatch.setattr(confined.os, "open", swapping)
    with pytest.raises(OSError, match="keeps changing"):
        open_inside(store.folder, "README.md")


def test_a_folder_swapped_for_a_link_while_it_is_written_to_leads_nowhere(
    linked: tuple[LocalStore, Path],
) -> None:
    store, outside = linked
    with directory_inside(store.folder, ["sub-000000", "anat"]) as folder:
        anat = store.folder / "sub-000000" / "anat"
        anat.rename(store.folder / "moved")
        anat.symlink_to(outside, target_is_directory=True)
        with folder.create("new") as file:
            file.write(b"x")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (store.folder / "moved" / "new").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["release.json", MANIFEST_KEY, image_path(0)])
def test_a_pipe_in_a_release_is_not_waited_for(
    linked: tuple[LocalStore, Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store, _ = linked
    (store.folder / name).unlink()
    os.mkfifo(store.folder / name)
    assert main(["verify", store.uri]) in (1, 2)
    assert "Not a plain file" in capsys.readouterr().err
