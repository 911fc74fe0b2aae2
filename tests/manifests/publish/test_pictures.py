"""A withdrawn sample is pictured nowhere, in no version; nor are its measures."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

import pytest

from manifests.changes.holder import Holder
from manifests.format.layout import MEASURED_KEY
from manifests.format.release_json import read_release
from manifests.metadata.pictures import TAKEN_OUT, without_pictures
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from manifests.verify import verify
from ray_jobs.cli import main
from tests.manifests.dying_store import Died, DyingStore
from tests.manifests.evaluations import evaluate, picture_bytes
from tests.manifests.ledger.test_finalise import everything
from tests.manifests.publish.test_kill import STRIDE, small_page
from tests.manifests.releases import make_release

SHOWN = {"mosaic.png": ["sub-000000", "sub-000003"], "other.png": ["sub-000004"]}
MOSAIC, OTHER = (base64.b64encode(picture_bytes(name)) for name in SHOWN)
PLACES = ("evaluation/", "versions/1.0.0/evaluation/")


def publishes(folder: Path, evaluation: Path | None) -> None:
    options = PublishOptions(
        license="CC-BY-4.0", date="2026-11-23", authors=("A. Lab",), evaluation=evaluation
    )
    done = publish(Release.open(folder), options, page=small_page)
    assert done.report.ok, done.report.findings


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release `r`, published with the evaluation `e`, whose report shows three samples."""
    folder = tmp_path_factory.mktemp("made")
    make_release(folder / "r", 6)
    publishes(folder / "r", evaluate(folder / "e", folder / "r", pictures=SHOWN))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_every_picture_and_measure_of_it_goes_in_every_version(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(folder / "r")
    for place in PLACES:
        assert MOSAIC in store.get(f"{place}report.html")
    reason = ["--reason", "a copy", "--yes"]
    assert main(["withdraw", str(folder / "r"), "sub-000000", *reason]) == 0
    told = capsys.readouterr().out
    assert "removed too, as they may show one of these: evaluation/mosaic.png" in told
    assert "rewritten without their pictures and measures: evaluation/report.html" in told
    left = everything(store)
    for place in PLACES:
        assert f"{place}mosaic.png" not in left
        page, text = left[f"{place}report.html"], left[f"{place}report.md"].decode()
        assert MOSAIC not in page
        assert OTHER in page  # which shows others alone
        assert page.count(b"<figure>") == page.count(b"</figure>") == 1
        assert TAKEN_OUT in page.decode()
        assert "mosaic.png)" not in text
        assert "![x](other.png)" in text
    assert b"sub-000000" not in left["index.html"]
    for version in (None, "1.0.0"):
        release = Release.open(folder / "r", version=version)
        assert release.measured(columns=["index"])["index"].to_pylist() == [1, 2, 3, 4, 5]
    assert verify(Release.open(folder / "r")).findings == []
    publishes(folder / "r", None)
    assert verify(Release.open(folder / "r")).findings == []
    assert Release.open(folder / "r").document.published.last.version == "1.0.1"  # type: ignore[union-attr]


def test_the_measures_of_a_sample_go_from_the_file_of_every_version(folder: Path) -> None:
    withdraw(Release.open(folder / "r"), ["sub-000002"], "bad", page=small_page)
    store = open_store(folder / "r")
    sizes = {len(store.get(key)) for key in (MEASURED_KEY, f"versions/1.0.0/{MEASURED_KEY}")}
    assert len(sizes) == 1
    left = everything(store)
    assert MOSAIC in left["evaluation/report.html"]  # nobody withdrew whom it shows
    assert "versions/1.0.0/evaluation/mosaic.png" in left


def test_a_report_that_does_not_tell_whom_it_shows_loses_all_pictures(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 4)
    pictures = dict.fromkeys(SHOWN)
    publishes(tmp_path / "r", evaluate(tmp_path / "e", tmp_path / "r", pictures=pictures))
    withdraw(Release.open(tmp_path / "r"), ["sub-000002"], "bad", page=small_page)
    left = everything(open_store(tmp_path / "r"))
    assert not [key for key in left if "evaluation/" in key and key.endswith(".png")]
    assert not [key for key, data in left.items() if b"data:image" in data]
    assert verify(Release.open(tmp_path / "r")).findings == []


def test_an_evaluation_made_before_brings_no_picture_back(folder: Path) -> None:
    make_release(folder / "s", 6)
    before = evaluate(folder / "f", folder / "s", pictures=SHOWN)
    withdraw(Release.open(folder / "s"), ["sub-000003"], "bad", page=small_page)
    publishes(folder / "s", before)
    left = everything(open_store(folder / "s"))
    assert not [key for key in left if key.endswith("mosaic.png")]
    assert not [key for key, data in left.items() if MOSAIC in data]
    assert verify(Release.open(folder / "s")).findings == []


def test_pictures_that_an_earlier_brainpress_left_are_found_and_mended(folder: Path) -> None:
    """Its withdrawal took the image alone."""
    store = open_store(folder / "r")
    before = {key: data for key, data in everything(store).items() if "evaluation/" in key}
    kept = {key: store.get(key) for key in ("versions/1.0.0/release.json",)}
    digests = read_release(store)["files"]
    withdraw(Release.open(folder / "r"), ["sub-000003"], "bad", page=small_page)
    about = read_release(store)
    for key, data in {**before, **kept}.items():
        store.put(key, data)
        about["files"][key] = digests[key]
    from manifests.format.json_text import json_bytes

    store.put("release.json", json_bytes(about))
    found = {(f.code, f.key) for f in verify(Release.open(folder / "r")).findings}
    for place in PLACES:
        assert ("picture-withdrawn", f"{place}mosaic.png") in found
    done = withdraw(Release.open(folder / "r"), ["sub-000003"], "bad", page=small_page)
    assert "versions/1.0.0/evaluation/mosaic.png" in done.removed
    assert verify(Release.open(folder / "r")).findings == []


def test_death_at_every_write_leaves_no_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(Holder, "is_gone", True)  # who died was a process of its own

    def act(store: LocalStore) -> None:
        release = Release(store, read_release(store))
        withdraw(release, ["sub-000000"], "a copy", page=small_page)

    undisturbed = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(folder / "r", undisturbed, dirs_exist_ok=True)
    act(LocalStore(undisturbed))
    expected = everything(open_store(undisturbed))
    for death in range(1, 200, STRIDE):
        place = folder / str(death)
        shutil.copytree(folder / "r", place)
        store = DyingStore(place, death=death)
        try:
            act(store)
        except Died:
            for version in (None, "1.0.0"):  # which a reader may do meanwhile
                both = Release.open(place, version=version)
                pictured = MOSAIC in both.store.get("evaluation/report.html")
                measured = 0 in both.measured()["index"].to_pylist()
                assert pictured == measured == (both.about["counts"]["ok"] == 6)
            act(LocalStore(place))
        assert everything(open_store(place)) == expected
        shutil.rmtree(place)
        if store.death > 0:
            break
    else:
        pytest.fail("it never outlived all its writes")


def test_a_picture_that_is_no_figure_is_cut_out_all_the_same() -> None:
    data = base64.b64encode(b"PNG").decode()
    page = f'<p>a<img src="data:image/png;base64,{data}">b</p>'.encode()
    changed, removed = without_pictures({"x.png": b"PNG", "report.html": page}, [1])
    assert removed == {"x.png"}
    assert changed["report.html"].decode() == f"<p>a{TAKEN_OUT}b</p>"
    assert without_pictures({"x.png": b"PNG", "report.html": page}, []) == ({}, set())
