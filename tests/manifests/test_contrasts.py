"""A release of another contrast than T1w, or of several."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from manifests import Release, Volumes
from manifests.errors import ReleaseError
from manifests.format.layout import image_path, row_path, weighted
from manifests.format.schema import Column, manifest_schema, rows_table
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.page.build import COLUMNS_KEY, page_files
from manifests.publish.withdrawal import withdraw
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.verify import verify
from manifests.volumes.download import download
from tests.manifests.releases import COLUMNS, QUALITY, document, image_bytes, row

THREE = ("T1w", "T2w", "FLAIR")
MODALITY = Column(
    name="modality", kind="categorical", levels=THREE, coding="one-hot", description="contrast"
)


def make(folder: Path, asked: Sequence[str], suffixes: Sequence[str] = THREE) -> Store:
    """A finished release whose samples were asked for these contrasts."""
    several = len(suffixes) > 1
    columns = (*COLUMNS, MODALITY) if several else COLUMNS
    about = document(columns=columns, suffixes=tuple(suffixes))
    store, plan, rows = open_store(folder), ShardPlan(len(asked), len(asked)), []
    fields = {"fingerprint": about.fingerprint, "fields": dict(about.fields)}
    Ledger(store).begin({**fields, "shard_size": plan.shard_size}, n=plan.n)
    for index, suffix in enumerate(asked):
        data, path = image_bytes(index), image_path(index, suffix)
        store.put(path, data)
        kind = {"modality": suffix, "modality_scaled": float(THREE.index(suffix))}
        rows.append(row(index, data, path=path, **(kind if several else {})))
    table = rows_table(rows, manifest_schema(columns, QUALITY))
    Ledger(store).commit(0, table, len(asked))
    finalise(store, plan, about)
    return store


def bids_errors(folder: Path) -> str:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [validator, "--max-rows", "-1", "--ignoreWarnings", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def sound(folder: Path) -> bool:
    return not verify(Release.open(str(folder))).findings


def test_images_are_named_by_what_was_asked_and_the_whole_is_valid_bids(tmp_path: Path) -> None:
    store = make(tmp_path, ["T1w", "T2w", "FLAIR", "T2w"])
    assert (tmp_path / "sub-000001/anat/sub-000001_T2w.nii.gz").is_file()
    for suffix, name in (("T1w", "T1-weighted"), ("T2w", "T2-weighted"), ("FLAIR", "FLAIR")):
        about = json.loads(store.get(f"{suffix}.json"))
        assert about["Description"].startswith(f"Synthetic {name} brain image")
    assert b"4 synthetic T1-weighted, T2-weighted and FLAIR brain images" in store.get("README.md")
    assert b"`modality` says of which contrast each is" in store.get("README.md")
    assert json.loads(store.get("croissant.json"))["keywords"][-3:] == list(THREE)
    assert json.loads(store.get("release.json"))["suffixes"] == list(THREE)
    assert sound(tmp_path)
    assert bids_errors(tmp_path) == ""


def test_a_release_of_which_one_contrast_was_asked_has_the_sidecar_of_that_alone(
    tmp_path: Path,
) -> None:
    store = make(tmp_path, ["T2w", "T2w"])
    there = {entry.key for entry in store.list() if entry.key.endswith(".json")}
    assert "T2w.json" in there
    assert not {"T1w.json", "FLAIR.json"} & there
    assert b"2 synthetic T2-weighted brain images" in store.get("README.md")
    assert sound(tmp_path)
    assert bids_errors(tmp_path) == ""


def test_a_model_of_one_other_contrast_names_all_by_it(tmp_path: Path) -> None:
    store = make(tmp_path, ["FLAIR", "FLAIR"], ["FLAIR"])
    assert json.loads(store.get("dataset_description.json"))["Keywords"][-1] == "FLAIR"
    assert sound(tmp_path)
    assert bids_errors(tmp_path) == ""


def test_a_t1w_release_says_no_word_of_contrasts() -> None:
    assert "suffixes" not in document().to_json()
    assert document().from_json({**document().to_json()}).suffixes == ("T1w",)


def test_volumes_are_queried_downloaded_and_withdrawn_by_contrast(tmp_path: Path) -> None:
    make(tmp_path / "r", ["T1w", "T2w", "FLAIR", "T2w"])
    release = Release.open(str(tmp_path / "r"))
    rows = release.query("modality = 'T2w'")
    assert rows["index"].to_pylist() == [1, 3]
    volumes = Volumes(str(tmp_path / "r"), where="modality = 'T2w'")
    assert len(volumes) == 2
    download(release, tmp_path / "part", where="modality = 'T2w'")
    assert (tmp_path / "part/sub-000003/anat/sub-000003_T2w.nii.gz").is_file()
    assert not (tmp_path / "part/T1w.json").exists()
    assert sound(tmp_path / "part")
    done = withdraw(release, ["sub-000003"], "a test", page=lambda *_, **__: {})
    assert "sub-000003/anat/sub-000003_T2w.nii.gz" in done.removed
    withdraw(Release.open(str(tmp_path / "r")), ["sub-000002"], "a test", page=lambda *_, **__: {})
    assert not (tmp_path / "r/FLAIR.json").exists()
    assert sound(tmp_path / "r")
    assert bids_errors(tmp_path / "r") == ""


def test_a_name_of_another_contrast_than_was_asked_is_an_error(tmp_path: Path) -> None:
    store = make(tmp_path, ["T1w", "T2w"])
    about = Release.open(str(tmp_path)).document
    rows = [row(i, image_bytes(i), modality="T1w", modality_scaled=0.0) for i in range(2)]
    rows[1]["path"] = image_path(1, "T2w")
    table = rows_table(rows, manifest_schema(about.columns, QUALITY))
    from manifests.metadata.staging import write_release

    write_release(store, table, about)
    found = verify(Release.open(str(tmp_path))).findings
    assert ("row-path", "sub-000001") in {(f.code, f.key) for f in found}


def test_the_page_is_told_where_each_image_lies(tmp_path: Path) -> None:
    make(tmp_path, ["T1w", "T2w", "FLAIR"])
    page = page_files(Release.open(str(tmp_path)))
    told = json.loads(page[COLUMNS_KEY])
    assert told["suffixes"] == list(THREE)
    assert "modality" in [column["name"] for column in told["columns"]]
    assert b"3 synthetic T1-weighted, T2-weighted and FLAIR brain images" in page["index.html"]


@pytest.mark.parametrize("suffixes", [(), ("T1w", "T1w"), ("../x",), (["T1w"],), ("T1w", "T2w")])
def test_a_document_of_wrong_contrasts_is_refused(suffixes: tuple[str, ...]) -> None:
    with pytest.raises(ReleaseError, match=r"^release document: "):
        document(suffixes=suffixes)


def test_a_row_of_an_unknown_contrast_still_has_a_place_of_the_format() -> None:
    assert row_path({"index": 3, "modality": "../../x"}, THREE) == image_path(3, "T1w")
    assert row_path({"index": 3, "modality": "FLAIR"}, THREE) == image_path(3, "FLAIR")
    assert weighted(["T2w"]) == "T2-weighted"
