"""Downloads: checked, resumable, and BIDS datasets of their own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pyarrow as pa
import pytest

from manifests.commands.shared import Progress
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import MANIFEST_KEY, MEASURED_KEY, image_path
from manifests.format.parquet import parquet_bytes, read_columns
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from manifests.verify import verify
from manifests.volumes.dataset import Volumes
from manifests.volumes.download import Downloaded, Existing, download
from ray_jobs.cli import main
from tests.manifests.evaluations import evaluate
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.publish.test_kill import small_page
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
    assert part.about["source"]["uri"] == shlex.join(Release.open(place).store.words)
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


def test_another_file_of_an_image_s_size_is_not_overwritten_either(tmp_path: Path) -> None:
    make_release(tmp_path / "release", 3)
    out = tmp_path / "out"
    taken = out / image_path(1)
    taken.parent.mkdir(parents=True)
    mine = bytes(len(image_bytes(1)))
    taken.write_bytes(mine)
    release = Release.open(tmp_path / "release")
    with pytest.raises(ReleaseError, match="is there and is not the release's file"):
        download(release, out)
    assert taken.read_bytes() == mine
    assert not (out / "release.json").exists()
    assert download(release, out, existing=Existing.SKIP).skipped == [image_path(1)]
    assert taken.read_bytes() == mine
    assert download(release, out, existing=Existing.OVERWRITE).fetched == 1
    assert verify(Release.open(out)).findings == []


def test_going_on_begins_with_the_first_image_and_not_with_a_look_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_release(tmp_path / "release", 9)
    release, out = Release.open(tmp_path / "release"), tmp_path / "out"
    download(release, out)
    (out / image_path(0)).unlink()
    (out / "release.json").unlink()  # as a killed one leaves it
    seen: list[str] = []
    get = LocalStore.get_with_etag

    def told(self: LocalStore, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        if self.uri == str(out) and key.endswith(".nii.gz"):
            seen.append(key)
        return get(self, key, most=most)

    monkeypatch.setattr(LocalStore, "get_with_etag", told)
    report = download(
        release,
        out,
        connections=1,
        on_progress=lambda done, *_: seen.append("image 0 is there") if done == 1 else None,
    )
    assert (report.fetched, report.present) == (1, 8)
    assert seen[0] == "image 0 is there"


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
    monkeypatch.setattr("manifests.volumes.taking.MOST_FAILURES", 3)
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
    store = make_release(tmp_path / "release", 1)
    table = Release.open(store.uri).query()
    column = pa.array(["../../escaped.nii.gz"])
    evil = table.set_column(2, table.schema.field("path"), column)
    store.put("manifest.parquet", parquet_bytes(evil))
    about = Release.open(store.uri).about
    about["files"]["manifest.parquet"] = sha256(parquet_bytes(evil))
    with pytest.raises(ReleaseError, match="expected 'sub-000000/anat"):
        download(Release(store, about), tmp_path / "out")
    assert not (tmp_path / "escaped.nii.gz").exists()


def test_progress_is_a_bar_on_a_terminal_and_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    Progress("downloaded")(2, 4, 1000)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress("downloaded")
    progress(4, 4, 1000)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.match(r"downloaded ━+ 4 of 4, 1.0 kB, ", shown)
    assert shown.endswith("\n")
    assert max(map(len, re.split(r"[\r\n]", shown))) <= 60


# --------------------------------------------------------------- what came is what was released


def edited(folder: Path) -> None:
    """A mirror in which somebody made a person younger, and re-made nothing else."""
    store = open_store(folder)
    table = read_columns(store, MANIFEST_KEY)
    ages = [44.0, *table["age"].to_pylist()[1:]]
    place = table.schema.get_field_index("age")
    changed = table.set_column(place, table.schema.field(place), pa.array(ages, pa.float64()))
    store.put(MANIFEST_KEY, parquet_bytes(changed))


def test_a_manifest_that_release_json_does_not_name_is_not_taken(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(place, 4)
    data = store.get(MANIFEST_KEY)
    download(Release.open(place), tmp_path / "d")
    edited_table = tmp_path / "local"
    make_release(edited_table, 4)
    edited(edited_table)
    store.put(MANIFEST_KEY, open_store(edited_table).get(MANIFEST_KEY))
    for act in (
        ["download", place, str(tmp_path / "e")],
        ["download", place, str(tmp_path / "d")],
        ["shards", place, "--out", str(tmp_path / "s")],
    ):
        assert main(act) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "manifest.parquet is not the file that release.json names" in line
    with pytest.raises(ReleaseError, match=r"is not the file that release\.json names"):
        Volumes(place)
    assert not (tmp_path / "e").exists()
    store.put(MANIFEST_KEY, data)
    assert main(["download", place, str(tmp_path / "d")]) == 0


def test_an_edited_row_of_an_old_version_or_of_measures_is_not_taken(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 4)
    options = PublishOptions(
        license="CC-BY-4.0",
        date="2026-11-23",
        authors=("A",),
        evaluation=evaluate(tmp_path / "e", tmp_path / "r"),
    )
    publish(Release.open(tmp_path / "r"), options, page=small_page)
    withdraw(Release.open(tmp_path / "r"), ["sub-000003"], "bad", page=small_page)
    assert download(Release.open(tmp_path / "r", version="1.0.0"), tmp_path / "d").fetched == 3
    store = open_store(tmp_path / "r")
    for key in ("versions/1.0.0/manifest.parquet", MEASURED_KEY):
        data = store.get(key)
        store.put(key, data + b"x")
        version = "1.0.0" if "versions" in key else None
        with pytest.raises(ReleaseError, match=r"is not the file that release\.json names"):
            download(Release.open(tmp_path / "r", version=version), tmp_path / "x")
        store.put(key, data)


def test_a_release_is_the_one_that_its_reader_expects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", 3)
    uri = str(tmp_path / "r")
    options = PublishOptions(license="CC-BY-4.0", date="2026-11-23", authors=("A",))
    publish(Release.open(uri), options, page=small_page)
    assert main(["info", uri]) == 0
    digest = Release.open(uri).digest
    assert digest in capsys.readouterr().out.replace("\n" + 13 * " ", " ")
    assert main(["download", uri, str(tmp_path / "d"), "--expect", digest.upper()]) == 0
    assert Release.open(tmp_path / "d").about["source"]["release_sha256"] == digest
    assert main(["verify", uri, "--expect", digest]) == 0
    old = Release.open(uri, version="1.0.0").digest
    then = ["--release-version", "1.0.0"]
    withdraw(Release.open(uri), ["sub-000002"], "bad", page=small_page)
    capsys.readouterr()
    for verb in (["download", uri, str(tmp_path / "e")], ["verify", uri], ["query", uri]):
        assert main([*verb, "--expect", digest]) == 1
        assert "is not the release that you expect" in capsys.readouterr().err
    assert main(["download", uri, str(tmp_path / "e"), *then, "--expect", old]) == 0
    now = Release.open(uri).digest
    assert main(["download", uri, str(tmp_path / "f"), *then, "--expect", now]) == 0
    assert main(["download", uri, str(tmp_path / "g"), *then, "--expect", digest]) == 1
    assert main(["download", uri, str(tmp_path / "g"), "--expect", "abc"]) == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("key", ["participants.tsv", "README.md", "LICENSE"])
def test_a_file_that_the_user_changed_is_not_overwritten(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", 4)
    uri, out = str(tmp_path / "r"), tmp_path / "d"
    assert main(["download", uri, str(out), "--limit", "2"]) == 0
    mine = (out / key).read_bytes() + b"mine\n"
    (out / key).write_bytes(mine)
    assert main(["download", uri, str(out)]) == 2
    assert (
        f"{key} is there and is not the release's file, or was changed" in capsys.readouterr().err
    )
    assert (out / key).read_bytes() == mine
    assert len(images_in(out)) == 2
    assert main(["download", uri, str(out), "--existing", "skip"]) == 0
    assert f"skipped {key}" in capsys.readouterr().err
    assert (out / key).read_bytes() == mine
    assert len(images_in(out)) == 4
    assert main(["download", uri, str(out), "--existing", "overwrite"]) == 0
    assert (out / key).read_bytes() != mine
    assert verify(Release.open(out)).findings == []


def test_a_user_s_own_files_in_a_new_folder_stay(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 2)
    out = tmp_path / "d"
    out.mkdir()
    (out / "participants.tsv").write_text("mine")
    with pytest.raises(ReleaseError, match=r"participants\.tsv is there"):
        download(Release.open(tmp_path / "r"), out)
    assert sorted(path.name for path in out.iterdir()) == ["participants.tsv"]


def test_rows_that_the_user_changed_are_not_taken_into_a_larger_download(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 4)
    release, out = Release.open(tmp_path / "r"), tmp_path / "d"
    download(release, out, limit=2)
    edited(out)
    with pytest.raises(ReleaseError, match=r"manifest\.parquet is there and is not the release's"):
        download(release, out)
    with pytest.raises(ReleaseError, match=r"manifest\.parquet is there"):
        download(release, out, existing=Existing.SKIP)
    download(release, out, ids=["sub-000003"], existing=Existing.OVERWRITE)
    rows = Release.open(out).query(columns=["index", "age"])
    told = release.query("index in (0, 1, 3)", columns=["index", "age"])
    assert rows.to_pylist() == told.to_pylist()
    assert verify(Release.open(out)).findings == []


def test_who_was_withdrawn_since_an_earlier_download_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", 4)
    uri, out = str(tmp_path / "r"), str(tmp_path / "d")
    assert main(["download", uri, out, "--limit", "2"]) == 0
    withdraw(Release.open(uri), ["sub-000001"], "a copy of a person", page=small_page)
    capsys.readouterr()
    assert main(["download", uri, out]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("still in " + out + ": sub-000001: a copy of a person")


def test_a_larger_download_killed_among_its_metadata_goes_on_and_keeps_the_user_s_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_release(tmp_path / "r", 4)
    release, out = Release.open(tmp_path / "r"), tmp_path / "d"
    download(release, out, limit=2)
    put_file = LocalStore.put_file

    def dying(self: LocalStore, key: str, path: Path) -> None:
        if key == "release.json":
            raise KeyboardInterrupt
        put_file(self, key, path)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_file", dying)
        with pytest.raises(KeyboardInterrupt):
            download(release, out, limit=3)
    (out / "README.md").write_text("mine")
    with pytest.raises(ReleaseError, match=r"README\.md is there"):
        download(release, out)
    (out / "README.md").unlink()
    download(release, out)
    assert verify(Release.open(out)).findings == []
    assert Release.open(out).query().num_rows == 4
