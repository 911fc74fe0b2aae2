"""A download that dies at any moment: the same command ends in the same bytes as undisturbed."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manifests.errors import ReleaseError
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.confined import Directory
from manifests.verify import verify
from manifests.volumes.download import Existing, download
from ray_jobs.cli import main
from tests import ROOT
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.releases import image_bytes, make_release

N = 6


@pytest.mark.parametrize("death", [4, 9], ids=["among the images", "among the metadata"])
def test_a_download_killed_in_the_middle_is_finished_by_the_same_command(
    place: str, tmp_path: Path, death: int
) -> None:
    make_release(place, N)
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    command = [sys.executable, "-m", "tests.manifests.dying_download", place, str(out), str(death)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -9
    assert list((out / ".incoming").iterdir())  # what was not whole yet has no name
    assert not (out / "release.json").exists()
    there = sum(1 for _ in out.rglob("*.nii.gz"))
    assert 0 < there <= N
    assert main(["download", place, str(out)]) == 0
    download(Release.open(place), undisturbed)
    assert everything(open_store(out)) == everything(open_store(undisturbed))
    assert not (out / ".incoming").exists()
    assert verify(Release.open(out)).findings == []


class Died(BaseException):
    """Death, where a test wants to go on living."""


def test_death_at_every_single_rename_is_mended_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_release(tmp_path / "release", 3)
    release = Release.open(tmp_path / "release")
    download(release, tmp_path / "undisturbed")
    expected = everything(open_store(tmp_path / "undisturbed"))
    rename, deaths = Directory.replace, 0
    for death in range(1, 100):
        out, renames = tmp_path / str(death), itertools.count(1)

        def dying(
            self: Directory, *arguments: Any, last: int = death, at: Any = renames, out: Path = out
        ) -> None:
            # The metadata is made elsewhere first: only what goes to `out` counts.
            if self.path.is_relative_to(out) and next(at) == last:
                raise Died
            rename(self, *arguments)

        monkeypatch.setattr(Directory, "replace", dying)
        died = False
        try:
            download(release, out, connections=1)
        except Died:
            died, deaths = True, deaths + 1
        monkeypatch.setattr(Directory, "replace", rename)
        if died:
            assert not (out / "release.json").exists()
            download(release, out)
        assert everything(open_store(out)) == expected
        if not died:
            break
    assert deaths >= len(expected)


def test_what_a_killed_download_left_belongs_to_the_next_choice_too(tmp_path: Path) -> None:
    """So that the folder is whole again: no image without its row."""
    make_release(tmp_path / "release", N)
    release, out = Release.open(tmp_path / "release"), tmp_path / "out"

    fetched: set[int] = set()

    def interrupt(done: int, total: int, size: int) -> None:
        fetched.add(size)
        if len(fetched - {0}) == 2:
            raise KeyboardInterrupt

    for choice, indices in (("index < 3", [0, 1, 5]), ("index < 5", [0, 1, 2, 3, 5])):
        fetched.clear()
        with pytest.raises(KeyboardInterrupt):
            download(release, out, where=choice, connections=1, on_progress=interrupt)
        download(release, out, ids=["5"])
        assert Release.open(out).query()["index"].to_pylist() == indices
        assert verify(Release.open(out)).findings == []
    assert bids_errors(str(out)) == ""


def test_files_of_ones_own_that_have_the_names_of_metadata_are_not_lost(tmp_path: Path) -> None:
    make_release(tmp_path / "release", 2)
    release, out = Release.open(tmp_path / "release"), tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("mine")
    with pytest.raises(ReleaseError, match=r"README.md is there and is not the release's file"):
        download(release, out)
    assert [path.name for path in out.iterdir()] == ["README.md"]
    assert (out / "README.md").read_text() == "mine"
    download(release, out, existing=Existing.OVERWRITE)
    assert verify(Release.open(out)).findings == []
    assert (out / "sub-000000/anat/sub-000000_T1w.nii.gz").read_bytes() == image_bytes(0)
