"""Folders written whole: what they hold, and that the umask says who may read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ldm.folders import replace_folder, side_folder, write_folder
from ldm.loading import load
from ldm.models.bundle.export import export_bundle
from tests.ldm.tiny_model import working_model


@pytest.fixture(params=[0o022, 0o002, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> set[int]:
    """Permissions of a folder and of the folders in it; of files as if they might be run."""
    found = {path: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    return {mode if path.is_dir() else mode | (mode & 0o444) >> 2 for path, mode in found.items()}


def test_a_folder_is_open_to_whom_the_umask_says(tmp_path: Path, umask: int) -> None:
    for data in (b"old", b"new"):
        write_folder(tmp_path / "größe" / "a b", {"x": data, "y": b""})
        assert (tmp_path / "größe" / "a b" / "x").read_bytes() == data
    assert modes(tmp_path / "größe") == {0o777 & ~umask}
    assert [path.name for path in (tmp_path / "größe").iterdir()] == ["a b"]


def test_so_is_an_exported_bundle(tmp_path: Path, umask: int) -> None:
    working_model(tmp_path / "model")
    for _ in range(2):
        model = load(str(tmp_path / "model"), device="cpu", precision="fp32")
        export_bundle(model, "model", tmp_path / "bundle")
    assert modes(tmp_path / "bundle") == modes(tmp_path / "model") == {0o777 & ~umask}


def test_side_folders_are_hidden_new_and_beside_their_folder(tmp_path: Path) -> None:
    sides = {side_folder(tmp_path / "a") for _ in range(20)}
    assert len(sides) == 20
    assert all(side.name.startswith(".a-") and side.parent == tmp_path for side in sides)
    replace_folder(sides.pop(), tmp_path / "a")
    assert (tmp_path / "a").is_dir()
