"""The job of `segment` without Ray: what it refuses, what it makes, what it says."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ldm.anatomy.regions import REGIONS
from manifests.errors import ReleaseError
from manifests.format.layout import image_path
from manifests.format.segmentation.about import Segmentation
from manifests.format.segmentation.layout import map_path
from manifests.ledger.segmentation.progress import Block
from manifests.ledger.status import read_status
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage.base import Store
from manifests.verify import verify
from ray_jobs.cli import main
from ray_jobs.errors import JobError
from ray_jobs.segmentation import job
from ray_jobs.segmentation.job import refuse_no_brains, segment
from ray_jobs.segmentation.tool import told_by
from ray_jobs.segmentation.worker import Segmenter, label_map
from ray_jobs.status import describe
from tests.e2e.running import tiny_model
from tests.manifests.ledger.test_finalise import everything
from tests.manifests.publish.test_kill import small_page
from tests.manifests.releases import image_bytes, make_release
from tests.ray_jobs.segmentation.fake_tool import LOADER, OTHER_LOADER, FakeTool

BLIND_LOADER = "tests.ray_jobs.segmentation.fake_tool:load_blind"


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_after_another(
        store: Store, told: Segmentation, loader: str, blocks: Sequence[Block], workers: int | None
    ) -> list[tuple[str, str]]:
        actor = Segmenter(store, told, loader)
        lost: list[tuple[str, str]] = []
        for block in blocks:
            lost += actor({"number": block.number, "images": block.images})["lost"]
        return lost

    monkeypatch.setattr(job, "_segment_all", one_after_another)


def test_a_map_lies_where_its_image_lies_and_its_volumes_are_the_tools(tmp_path: Path) -> None:
    store = make_release(tmp_path, 4)
    assert segment(store.uri, loader=LOADER) == 0
    made = nib.Nifti1Image.from_bytes(gzip.decompress(store.get(map_path(2))))
    image = nib.Nifti1Image.from_bytes(gzip.decompress(image_bytes(2)))
    for name in ("sform_code", "qform_code", "xyzt_units"):
        assert made.header[name] == image.header[name]
    np.testing.assert_array_equal(made.header.get_sform(), image.header.get_sform())
    np.testing.assert_array_equal(made.header.get_qform(), image.header.get_qform())
    numbers = np.asarray(made.dataobj)
    assert numbers.dtype == np.uint8
    row = Release.at(store).regions().to_pylist()[2]
    for region in REGIONS:
        assert row[f"volume_{region.key}"] == (numbers == region.number).sum() * 8.0
    told = Release.at(store).document.segmentation
    assert told is not None
    assert [r.name for r in told.regions] == [r.name for r in REGIONS]


def test_the_same_image_gives_the_same_bytes_and_no_time(tmp_path: Path) -> None:
    first, _ = label_map(FakeTool(), image_bytes(1))
    assert first == label_map(FakeTool(), image_bytes(1))[0]
    assert first != label_map(FakeTool(), image_bytes(2))[0]
    assert first[4:8] == bytes(4)  # gzip's time


def test_an_oblique_image_keeps_both_its_forms() -> None:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(image_bytes(1)))
    angle = np.deg2rad(20)
    turned = np.diag([2.0, 2.0, 2.0, 1.0])
    turned[:2, :2] = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    image.set_sform(turned, code="scanner")
    image.set_qform(turned, code="scanner")
    data, _ = label_map(FakeTool(), gzip.compress(image.to_bytes()))
    made = nib.Nifti1Image.from_bytes(gzip.decompress(data))
    np.testing.assert_allclose(made.header.get_sform(), turned, atol=1e-5)
    np.testing.assert_allclose(made.header.get_qform(), turned, atol=1e-5)


def test_whole_heads_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = make_release(tmp_path, 6)
    before = everything(store)
    with pytest.raises(JobError, match="brains cut out of their heads") as refusal:
        segment(store.uri, loader=BLIND_LOADER)
    assert refusal.value.exit_code == 2
    assert everything(store) == before


def test_what_was_drawn_by_another_tool_is_not_overwritten_unasked(tmp_path: Path) -> None:
    store = make_release(tmp_path, 6)
    segment(store.uri, loader=LOADER)
    before = everything(store)
    with pytest.raises(JobError, match=r"has label maps by fake .* --replace makes all anew"):
        segment(store.uri, loader=OTHER_LOADER)
    assert everything(store) == before
    assert segment(store.uri, loader=OTHER_LOADER, replace=True) == 0
    assert verify(Release.at(store)).findings == []
    assert segment(store.uri, loader=LOADER, replace=True) == 0
    assert everything(store) == before


def test_an_image_that_is_damaged_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    store = make_release(tmp_path, 20)
    store.put(image_path(3), image_bytes(4))
    store.delete(image_path(9))
    with pytest.raises(JobError, match=r"2 images of .* cannot be read \(sub-000003") as refusal:
        segment(store.uri, loader=LOADER)
    assert refusal.value.exit_code == 1
    status = read_status(store)
    assert (status.maps, status.to_segment) == (18, 2)
    assert "labels    18 label maps, 2 images lack one: run" in describe(status)
    for index in (3, 9):
        store.put(image_path(index), image_bytes(index))
    assert segment(store.uri, loader=LOADER) == 0
    assert verify(Release.at(store)).findings == []
    assert read_status(store).to_segment == 0


def test_maps_that_are_damaged_are_found_and_made_again(tmp_path: Path) -> None:
    store = make_release(tmp_path, 20)
    segment(store.uri, loader=LOADER)
    before = everything(store)
    whole = store.get(map_path(3))
    store.put(map_path(3), whole[:-1] + bytes([whole[-1] ^ 1]))  # of its size
    store.delete(map_path(9))
    assert segment(store.uri, loader=LOADER) == 0
    assert [finding.code for finding in verify(Release.at(store)).findings] == ["label-changed"]
    assert segment(store.uri, loader=LOADER, repair=True) == 0
    assert everything(store) == before


def test_a_sample_withdrawn_meanwhile_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_release(tmp_path, 6)
    inner = job._segment_all

    def while_withdrawn(*arguments: object) -> list[tuple[str, str]]:
        withdraw(Release.at(store), ["sub-000003"], "too dark", page=small_page)
        return inner(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "_segment_all", while_withdrawn)
    assert segment(store.uri, loader=LOADER) == 0
    assert verify(Release.at(store)).findings == []
    assert Release.at(store).regions().num_rows == 5


def test_a_dry_run_says_how_many_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path, 6)
    before = everything(store)
    assert segment(store.uri, loader=LOADER, dry_run=True) == 0
    assert capsys.readouterr().out == "6 of 6 images would be segmented, by fake\n"
    assert everything(store) == before


def test_what_is_no_release_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(tmp_path / "nothing")]) == 2
    assert "no release there" in capsys.readouterr().err
    with pytest.raises(ReleaseError, match="only read"):
        segment("https://example.org/release", loader=LOADER)


def test_generate_refuses_to_segment_what_is_no_brain_before_it_draws(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r'"monai"\) draw whole heads'):
        refuse_no_brains("monai")
    other = tiny_model(tmp_path / "t2", suffixes=("T2w",))
    with pytest.raises(JobError, match="the model draws T2w"):
        refuse_no_brains(str(other))
    refuse_no_brains("demo")


@pytest.mark.parametrize("more", [["--recheck", "3"], ["--n", "4", "--dry-run"]])
def test_segment_goes_with_what_makes_images(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", *more, "--segment", "--out", str(tmp_path / "r")]) == 2
    assert "makes no image" in capsys.readouterr().err


def test_a_tool_without_a_card_has_no_licence_that_it_did_not_state() -> None:
    class Bare(FakeTool):
        @property
        def document(self) -> dict[str, object]:
            return {}

    assert told_by(Bare()).license == "not stated"
    assert told_by(FakeTool()).license == "CC-BY-SA-3.0"
