"""A segmented release: valid BIDS, told in full, grown, drawn again, taken up after a death."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import image_path
from manifests.format.release_json import read_release
from manifests.format.segmentation.about import Region, Segmentation
from manifests.format.segmentation.layout import (
    ABOUT_KEY,
    LABELS_KEY,
    NAMED,
    REGIONS_KEY,
    VOLUMES_KEY,
    map_path,
)
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.ledger.segmentation.closing import close_segmentation, drop_segmentation
from manifests.ledger.segmentation.progress import parts_there, pending
from manifests.query.release import Release
from manifests.storage.base import Store
from tests.manifests.label_maps import REGIONS, TOLD, segment, segment_some
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.releases import begin, document, image_bytes, make_release, write_shard


def test_a_segmented_release_and_its_derivative_are_valid_bids(tmp_path: Path) -> None:
    store = make_release(tmp_path, 6, failed=[2])
    segment(store)
    assert bids_errors(store.uri) == ""
    assert bids_errors(f"{store.uri}/derivatives/segmentation") == ""


def test_release_json_names_all_of_it_and_what_it_says_is_there(place: str) -> None:
    store = make_release(place, 10, failed=[3])
    done = segment(store)
    release = Release.at(store)
    assert (done.maps, done.refused, done.published) == (9, {}, False)
    assert release.document.segmentation == replace(TOLD, images=9)
    for key in NAMED:
        assert sha256(store.get(key)) == release.about["files"][key]
    rows = release.regions().to_pylist()
    assert [row["index"] for row in rows] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    for row in rows:
        assert row["image_sha256"] == sha256(image_bytes(row["index"]))
        assert row["sha256"] == sha256(store.get(row["path"]))
    assert not parts_there(store)
    table = store.get(LABELS_KEY).decode().splitlines()
    assert table[0] == "index\tname\tabbreviation\tcolor\tmapping"
    assert table[1] == "1\tleft hippocampus\tL-Hip\t#c81e1e\t9"
    about = json.loads(store.get(ABOUT_KEY))
    assert about["DatasetType"] == "derivative"
    assert about["License"] == "CC-BY-SA-3.0"
    assert [one["Name"] for one in about["GeneratedBy"]] == ["brainpress", "two regions"]
    assert about["SourceDatasets"] == [{"URL": "../../"}]
    assert "CC-BY-SA-3.0" in store.get("README.md").decode()
    assert store.get(VOLUMES_KEY).decode().count("\n") == 10


def test_everything_else_of_the_release_stays_as_it_was(tmp_path: Path) -> None:
    store = make_release(tmp_path, 6)
    before = everything(store)
    segment(store)
    after = everything(store)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"README.md", "croissant.json", ".bidsignore", "release.json"}


def test_a_release_grown_and_segmented_again_is_the_one_segmented_at_once(tmp_path: Path) -> None:
    store = make_release(tmp_path / "grown", 6)
    segment(store)
    begin(store, plan := ShardPlan(13, 4))
    for shard in Ledger(store).pending(plan):
        write_shard(store, plan, shard)
    finalise(store, plan, document(), extra={"previews/mosaic.png": b"\x89PNG"})
    assert Release.at(store).is_segmented
    assert segment_some(store) == 7
    segment(store)
    other = make_release(tmp_path / "once", 13)
    segment(other)
    assert everything(store) == everything(other)


def test_a_run_that_died_is_taken_up_where_it_was(tmp_path: Path) -> None:
    store = make_release(tmp_path / "died", 30)
    assert segment_some(store, blocks=2) == 16
    with pytest.raises(ReleaseError, match=r"14 of 30 images are not segmented yet") as refusal:
        close_segmentation(store, TOLD, software_version="0.1.0")
    assert refusal.value.exit_code == 1
    assert not Release.at(store).is_segmented
    assert segment_some(store) == 14
    segment(store)
    other = make_release(tmp_path / "other", 30)
    segment(other)
    assert everything(store) == everything(other)


def test_only_the_maps_of_images_made_anew_are_made_anew(tmp_path: Path) -> None:
    store = make_release(tmp_path, 10)
    segment(store)
    store.delete(map_path(9))  # lost
    blocks = pending(Release.at(store), TOLD)
    assert [image["index"] for block in blocks for image in block.images] == [9]
    told = Release.at(store).regions()
    segment(store)
    assert Release.at(store).regions().equals(told)


def test_another_tool_finds_all_images_without_a_map(tmp_path: Path) -> None:
    store = make_release(tmp_path, 10)
    segment(store)
    other = replace(TOLD, fingerprint="b" * 64)
    assert sum(len(block.images) for block in pending(Release.at(store), other)) == 10
    drop_segmentation(store)
    release = Release.at(store)
    assert not release.is_segmented
    assert release.document.segmentation is None
    left = [key for key in everything(store) if "regions" in key or "derivatives" in key]
    assert left == []


def test_an_image_that_is_refused_keeps_its_row_and_its_reason(tmp_path: Path) -> None:
    store = make_release(tmp_path, 5)
    done = segment(store, refused=[3])
    assert done.refused == {"sub-000003": "no brain"}
    row = Release.at(store).regions().to_pylist()[3]
    assert (row["error"], row["path"], row["volume_brain_stem"]) == ("no brain", None, None)
    assert not pending(Release.at(store), TOLD)
    assert "sub-000003" not in store.get(VOLUMES_KEY).decode()


def test_a_release_without_t1w_images_is_refused(tmp_path: Path) -> None:
    store = make_release(tmp_path, 4)
    about = read_release(store) | {"suffixes": ["T2w"]}
    with pytest.raises(ReleaseError, match="has T2w images: label maps are drawn of T1w"):
        pending(Release(store, about), TOLD)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"regions": []}, "its regions are none"),
        ({"regions": [*TOLD.to_json()["regions"], TOLD.to_json()["regions"][0]]}, "there twice"),
        ({"fingerprint": "x"}, "no SHA-256"),
        ({"tool": "a\x1b[31m"}, "expected a line of text"),
        ({"regions": [{**TOLD.to_json()["regions"][0], "key": "../x"}]}, "a region's key is"),
        ({"regions": [{**TOLD.to_json()["regions"][0], "number": 256}]}, "region 256"),
        ({"regions": [{**TOLD.to_json()["regions"][0], "colour": [1, 2]}]}, "colour"),
    ],
)
def test_what_a_stranger_tells_of_label_maps_is_judged(
    change: dict[str, object], told: str
) -> None:
    document = TOLD.to_json()
    assert Segmentation.from_json(document) == TOLD
    with pytest.raises(ReleaseError, match=told):
        Segmentation.from_json({**document, **change})


def test_volumes_are_columns_to_query_with_their_unit(tmp_path: Path) -> None:
    store = make_release(tmp_path, 10)
    segment(store, refused=[4])
    release = Release.at(store)
    volumes = release.regions()["volume_left_hippocampus"].to_pylist()
    middle = float(np.median([v for v in volumes if v is not None]))
    found = release.query(
        f"volume_left_hippocampus > {middle} and age > 0",
        columns=["index", "volume_left_hippocampus", "age"],
    )
    expected = [i for i, v in enumerate(volumes) if v is not None and v > middle]
    assert found["index"].to_pylist() == expected
    field = found.schema.field("volume_left_hippocampus")
    assert field.metadata[b"unit"] == b"mm3"
    assert b"left hippocampus" in field.metadata[b"description"]
    joined = release.sql(
        "SELECT count(*) AS n FROM manifest m JOIN regions r USING (index)"
        f" WHERE r.volume_left_hippocampus > {middle}"
    )
    assert joined["n"].to_pylist() == [len(expected)]


def test_a_release_without_label_maps_says_so(tmp_path: Path) -> None:
    release = Release.at(make_release(tmp_path, 4))
    with pytest.raises(ReleaseError, match=r"has no label maps"):
        release.regions()
    with pytest.raises(ReleaseError, match="volume_left_hippocampus"):
        release.query("volume_left_hippocampus > 1")


def test_its_croissant_is_read_by_the_reference_reader(tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    store = make_release(tmp_path, 5)
    segment(store)
    dataset = mlcroissant.Dataset(str(tmp_path / "croissant.json"))
    rows = list(dataset.records("regions"))
    told = Release.at(store).regions().to_pylist()
    assert [row["regions/volume_brain_stem"] for row in rows] == [
        row["volume_brain_stem"] for row in told
    ]


def test_regions_have_colours_as_bids_writes_them() -> None:
    assert [region.hex_colour for region in REGIONS] == ["#c81e1e", "#1e1ec8"]
    assert Region(**{**vars(REGIONS[0]), "colour": (0, 10, 255)}).hex_colour == "#000aff"


def test_images_lie_where_they_lay(tmp_path: Path) -> None:
    store: Store = make_release(tmp_path, 3)
    segment(store)
    assert store.get(image_path(1)) == image_bytes(1)
    assert REGIONS_KEY in read_release(store)["files"]
