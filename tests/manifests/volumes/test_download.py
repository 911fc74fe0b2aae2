"""Downloads: checked, resumable, and BIDS datasets of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.commands.shared import Progress
from manifests.errors import ReleaseError
from manifests.format.layout import image_path
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.verify import verify
from manifests.volumes.download import Downloaded, Existing, download
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.releases import image_bytes, make_release


def images_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.nii.gz"))


def test_a_part_of_a_release_is_a_dataset_of_its_own(place: str, tmp_path: Path) -> None:
    make_release(place, 10, failed=[1])
    out = tmp_path / "brains"
    report = download(Release.open(place), out, where="index < 5", limit=3)
    assert report == Downloaded(
        fetched=3, image_bytes=sum(len(image_bytes(index)) for index in (0, 2, 3))
    )
    assert images_in(out) == [f"sub-00000{index}_T1w.nii.gz" for index in (0, 2, 3)]
    for index in (0, 2, 3):
        assert (out / image_path(index)).read_bytes() == image_bytes(index)
    part = Release.open(out)
    assert part.query()["index"].to_pylist() == [0, 2, 3]
    assert part.about["source"]["uri"] == Release.open(place).store.uri
    assert verify(part).findings == []


def test_a_downloaded_part_is_valid_bids(tmp_path: Path) -> None:
    make_release(tmp_path / "release", 6)
    download(Release.open(tmp_path / "release"), tmp_path / "out", where="index in (1, 4)")
    assert bids_errors(str(tmp_path / "out")) == ""


def test_a_second_download_adds_to_the_first_and_fetches_only_what_is_missing(
    tmp_path: Path,
) -> None:
    make_release(tmp_path / "release", 6)
    release, out = Release.open(tmp_path / "release"), tmp_path / "out"
    download(release, out, ids=["1", "sub-000003"])
    report = download(release, out, where="index >= 3")
    assert (report.fetched, report.present) == (2, 1)
    assert Release.open(out).query()["index"].to_pylist() == [1, 3, 4, 5]
    assert verify(Release.open(out)).findings == []
    before = everything(open_store(out))
    assert download(release, out, where="index >= 3").fetched == 0
    assert everything(open_store(out)) == before


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    make_release(tmp_path / "release", 8)
    release, out = Release.open(tmp_path / "release"), tmp_path / "out"

    def interrupt(done: int, total: int, size: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(release, out, connections=1, on_progress=interrupt)
    there = len(images_in(out))
    assert 3 <= there < 8
    assert not (out / "release.json").exists()  # so that nobody takes it for whole
    report = download(release, out)
    assert (report.fetched, report.present) == (8 - there, there)
    assert verify(Release.open(out)).findings == []


@pytest.mark.parametrize(
    ("existing", "kept"), [(Existing.SKIP, b"mine"), (Existing.OVERWRITE, image_bytes(1))]
)
def test_what_to_do_with_another_file_is_a_choice(
    tmp_path: Path, existing: Existing, kept: bytes
) -> None:
    make_release(tmp_path / "release", 3)
    out = tmp_path / "out"
    taken = out / image_path(1)
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"mine")
    with pytest.raises(ReleaseError, match="is there and is not the release's file"):
        download(Release.open(tmp_path / "release"), out)
    assert images_in(out) == ["sub-000001_T1w.nii.gz"]  # nothing was written
    report = download(Release.open(tmp_path / "release"), out, existing=existing)
    assert taken.read_bytes() == kept
    assert report.skipped == ([image_path(1)] if existing is Existing.SKIP else [])
    codes = {finding.code for finding in verify(Release.open(out)).findings}
    assert bool(codes) == (existing is Existing.SKIP)


def test_an_image_that_is_not_what_the_manifest_says_is_not_kept(
    place: str, tmp_path: Path
) -> None:
    store = make_release(place, 4)
    store.put(image_path(2), b"rotten")
    store.delete(image_path(3))
    out = tmp_path / "out"
    report = download(Release.open(place), out)
    assert report.fetched == 2
    assert "its SHA-256 is" in report.failed[image_path(2)]
    assert report.failed[image_path(3)] == "it is missing from the release"
    assert images_in(out) == ["sub-000000_T1w.nii.gz", "sub-000001_T1w.nii.gz"]
    assert not (out / "release.json").exists()
    store.put(image_path(2), image_bytes(2))
    store.put(image_path(3), image_bytes(3))
    assert download(Release.open(place), out).failed == {}
    assert verify(Release.open(out)).findings == []


def test_a_release_that_is_broken_throughout_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_release(tmp_path / "release", 9)
    for index in range(9):
        store.delete(image_path(index))
    monkeypatch.setattr("manifests.volumes.download.MOST_FAILURES", 3)
    report = download(Release.open(tmp_path / "release"), tmp_path / "out", connections=1)
    assert (len(report.failed), report.not_tried) == (3, 6)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    make_release(tmp_path / "release", 2)
    release = Release.open(tmp_path / "release")
    bids = tmp_path / "bids"
    bids.mkdir()
    (bids / "dataset_description.json").write_text("{}")
    with pytest.raises(ReleaseError, match="holds another dataset"):
        download(release, bids)
    with pytest.raises(ReleaseError, match="holds a release itself"):
        download(release, tmp_path / "release")
    (tmp_path / "file").write_text("")
    with pytest.raises(ReleaseError, match="Not a directory"):
        download(release, tmp_path / "file")


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"where": "age > 1000"}, "no image of .* matches"),
        ({"where": "status = 'failed'"}, "no image of .* matches"),
        ({"ids": ["sub-000077"]}, "no image of sub-000077"),
        ({"ids": ["nonsense"]}, "no image of nonsense"),
        ({"ids": ["1"]}, "no image of sub-000001"),
        ({"ids": ["0"], "where": "index > 1"}, "among the rows that match"),
    ],
)
def test_a_choice_of_nothing_is_told(tmp_path: Path, choice: dict[str, object], line: str) -> None:
    make_release(tmp_path / "release", 3, failed=[1])
    with pytest.raises(ReleaseError, match=line):
        download(Release.open(tmp_path / "release"), tmp_path / "out", **choice)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_manifest_cannot_make_a_download_write_elsewhere(tmp_path: Path) -> None:
    """The rows come from a stranger: a path in them must stay inside the folder."""
    import pyarrow as pa

    from manifests.format.parquet import parquet_bytes

    store = make_release(tmp_path / "release", 1)
    table = Release.open(store.uri).query()
    column = pa.array(["../../escaped.nii.gz"])
    evil = table.set_column(2, table.schema.field("path"), column)
    store.put("manifest.parquet", parquet_bytes(evil))
    with pytest.raises(ReleaseError, match="expected 'sub-000000/anat"):
        download(Release.open(store.uri), tmp_path / "out")
    assert not (tmp_path / "escaped.nii.gz").exists()


def test_progress_is_a_bar_on_a_terminal_and_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    Progress("downloaded")(2, 4, 1000)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress("downloaded")
    progress(4, 4, 1000)
    line = capsys.readouterr().err
    assert line.startswith("\r[####################] downloaded 4 of 4, 1.0 kB")
    assert line.endswith("\n")
    assert len(line) <= 61
