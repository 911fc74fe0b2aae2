"""Label maps after their release: published, withdrawn, copied, downloaded, streamed, compared."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import image_path
from manifests.format.segmentation.layout import REGIONS_KEY, VOLUMES_KEY, map_path
from manifests.publish.withdrawal import withdraw
from manifests.query.difference import compare
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.verify import verify
from manifests.verify.orphans import unlisted
from manifests.volumes.dataset import Volumes
from manifests.volumes.download import Existing, download
from manifests.volumes.mirror import mirror
from ray_jobs.cli import main
from tests.manifests.label_maps import REGIONS, label_map, segment, segment_some
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.publish.test_kill import small_page
from tests.manifests.publish.test_publication import grow, publishes
from tests.manifests.releases import SHAPE, image_bytes, make_release

N, WHY = 6, "no cerebellum"


def mentions(place: str | Path, text: str) -> list[str]:
    """Keys of files of a release that are called so, or say so."""
    found = []
    for key, data in everything(open_store(place)).items():
        told = data if not key.endswith(".parquet") else b""
        if text in key or text.encode() in told:
            found.append(key)
    return found


def withdraws(place: str | Path, sample: int) -> None:
    withdraw(Release.open(place), [f"sub-{sample:06d}"], WHY, page=small_page)


def test_with_a_withdrawn_image_go_its_map_and_its_volumes(place: str) -> None:
    store = make_release(place, N)
    segment(store)
    withdraws(place, 3)
    release = Release.open(place)
    assert verify(release).findings == []
    assert 3 not in release.regions()["index"].to_pylist()
    assert mentions(place, "sub-000003") == []
    (row,) = release.query("index = 3", columns=["status", "volume_brain_stem"]).to_pylist()
    assert row == {"status": "withdrawn", "volume_brain_stem": None}


def test_a_sample_withdrawn_while_it_is_segmented_leaves_no_map(tmp_path: Path) -> None:
    store = make_release(tmp_path, 12)
    segment_some(store, blocks=1)
    withdraws(tmp_path, 3)
    assert mentions(tmp_path, "sub-000003") == []
    segment(store)
    assert verify(Release.open(tmp_path)).findings == []
    assert Release.open(tmp_path).regions().num_rows == 11


def test_a_map_written_after_its_sample_was_withdrawn_goes_with_the_close(tmp_path: Path) -> None:
    store = make_release(tmp_path, 12)
    segment_some(store)
    data = store.get(map_path(3))
    withdraws(tmp_path, 3)
    store.put(map_path(3), data)  # by a worker who had its image in hand
    assert "label-withdrawn" in {f.code for f in verify(Release.open(tmp_path)).findings}
    segment(store)
    assert mentions(tmp_path, "sub-000003") == []
    assert verify(Release.open(tmp_path)).findings == []


def test_a_map_that_came_back_is_removed_by_the_same_withdraw(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    segment(store)
    data = store.get(map_path(3))
    withdraws(tmp_path, 3)
    store.put(map_path(3), data)
    withdraws(tmp_path, 3)
    assert mentions(tmp_path, "sub-000003") == []


def test_label_maps_make_a_new_version_and_earlier_ones_keep_what_they_said(place: str) -> None:
    store = make_release(place, N)
    assert publishes(place).version == "1.0.0"
    segment(store)
    done = publishes(place, dry_run=True)
    assert (done.version, done.report.maps) == ("1.0.1", N)
    done = publishes(place)
    assert done.version == "1.0.1"
    assert done.changes == ("new label maps of 2 regions, by two regions",)
    assert publishes(place).written == []
    assert not Release.open(place, version="1.0.0").is_segmented
    withdraws(place, 3)
    for version in (None, "1.0.1"):
        release = Release.open(place, version=version)
        assert release.query("volume_brain_stem > 0", columns=["index"])["index"].to_pylist() == [
            index for index in range(N) if index != 3
        ]
        assert verify(release).findings == []
    assert [key for key in mentions(place, "sub-000003") if "versions/1.0.0" not in key] == [
        key for key in mentions(place, "sub-000003") if key == "versions/1.0.1/participants.tsv"
    ]


def test_a_published_release_that_grows_keeps_its_maps_and_is_segmented_on(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    segment(store)
    publishes(tmp_path)
    grow(tmp_path, 11)
    report = verify(Release.open(tmp_path))
    assert [finding.code for finding in report.findings] == ["labels-missing"]
    segment(store)
    assert verify(Release.open(tmp_path)).findings == []
    done = publishes(tmp_path)
    assert done.version == "1.1.0"
    assert any("samples added" in line for line in done.changes)


def test_a_stranger_finds_no_file_that_is_not_of_a_segmented_release(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    segment(store)
    assert unlisted(Release.open(tmp_path)) == []
    private = "derivatives/segmentation/sub-000001/private.nii.gz"
    store.put(private, b"x")
    assert unlisted(Release.open(tmp_path)) == [private]


def test_unpublished_it_keeps_its_maps(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    segment(store)
    publishes(tmp_path)
    assert main(["unpublish", str(tmp_path), "--yes"]) == 0
    assert verify(Release.open(tmp_path)).findings == []
    assert Release.open(tmp_path).regions().num_rows == N


def test_a_mirror_has_every_map_and_the_same_digest(place: str, tmp_path: Path) -> None:
    store = make_release(place, N)
    segment(store)
    done = mirror(store, open_store(tmp_path / "copy"))
    copy = Release.open(tmp_path / "copy")
    assert done.digest == copy.digest == Release.open(place).digest
    assert verify(copy).findings == []
    assert verify(copy).maps == N
    withdraws(place, 3)
    mirror(store, open_store(tmp_path / "copy"))
    assert mentions(tmp_path / "copy", "sub-000003") == []


def test_a_download_brings_the_maps_of_its_images(place: str, tmp_path: Path) -> None:
    store = make_release(place, N)
    segment(store, refused=[2])
    done = download(Release.open(place), tmp_path / "part", ids=["1", "2"])
    assert (done.fetched, done.maps, done.failed) == (2, 1, {})
    part = Release.open(tmp_path / "part")
    assert [f.code for f in verify(part).findings] == ["labels-refused"]
    assert (tmp_path / "part" / map_path(1)).read_bytes() == store.get(map_path(1))
    assert part.regions()["index"].to_pylist() == [1, 2]
    assert bids_errors(f"{tmp_path}/part") == ""
    done = download(Release.open(place), tmp_path / "part", ids=["4"])
    assert (done.fetched, done.maps) == (1, 2)
    assert Release.open(tmp_path / "part").regions()["index"].to_pylist() == [1, 2, 4]
    assert "sub-000004" in (tmp_path / "part" / VOLUMES_KEY).read_text()


def test_a_map_that_cannot_be_had_is_told_and_taken_by_the_next_download(tmp_path: Path) -> None:
    store = make_release(tmp_path / "release", N)
    segment(store)
    data = store.get(map_path(1))
    store.put(map_path(1), data[:-1] + b"x")
    done = download(Release.at(store), tmp_path / "part")
    assert list(done.failed) == [map_path(1)]
    store.put(map_path(1), data)
    done = download(Release.at(store), tmp_path / "part")
    assert (done.present, done.maps, done.failed) == (N, N, {})
    assert verify(Release.open(tmp_path / "part")).findings == []


def test_somebody_elses_file_in_a_maps_place_is_not_overwritten(tmp_path: Path) -> None:
    store = make_release(tmp_path / "release", N)
    segment(store)
    theirs = tmp_path / "part" / map_path(1)
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"mine")
    with pytest.raises(ReleaseError, match="is there and is not the release's file"):
        download(Release.at(store), tmp_path / "part")
    done = download(Release.at(store), tmp_path / "part", existing=Existing.SKIP)
    assert done.skipped == [map_path(1)]
    assert theirs.read_bytes() == b"mine"


def test_a_dataset_gives_the_map_beside_its_image(place: str, tmp_path: Path) -> None:
    store = make_release(place, N)
    segment(store, refused=[2])
    columns = ["participant_id", "volume_left_hippocampus"]
    volumes = Volumes(place, label=True, columns=columns, cache=tmp_path / "cache")
    assert len(volumes) == 5
    assert volumes.regions == {region.number: region.name for region in REGIONS}
    volumes = pickle.loads(pickle.dumps(volumes))
    for place_in, index in enumerate([0, 1, 3, 4, 5]):
        volume, label, row = volumes[place_in]
        image = nib.Nifti1Image.from_bytes(gzip.decompress(image_bytes(index)))
        np.testing.assert_allclose(volume[0], image.get_fdata(), rtol=1e-6)
        made = nib.Nifti1Image.from_bytes(gzip.decompress(label_map(image_bytes(index))[0]))
        assert (label.dtype, label.shape) == (np.uint8, (1, *SHAPE))
        np.testing.assert_array_equal(label[0], np.asarray(made.dataobj))
        assert row["participant_id"] == f"sub-{index:06d}"
        assert row["volume_left_hippocampus"] == (label == 1).sum() * 8


def test_a_dataset_with_maps_takes_filters_and_says_what_it_lacks(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    with pytest.raises(ReleaseError, match="has no label maps"):
        Volumes(tmp_path, label=True)
    segment(store, refused=[2])
    middle = float(np.median(_volumes(tmp_path)))
    assert len(Volumes(tmp_path, label=True, where=f"volume_brain_stem > {middle}")) == 2
    assert len(Volumes(tmp_path, label=True, limit=3)) == 3
    with pytest.raises(ReleaseError, match=r"1 of these images of .* have no label map"):
        Volumes(tmp_path, label=True, ids=["1", "2"])
    with pytest.raises(ReleaseError, match="label maps were not asked for"):
        Volumes(tmp_path).read_label(0)
    data = store.get(map_path(1))
    for broken, why in ((data[:-1] + b"x", "its SHA-256 is"), (data + b"x", "expected at most")):
        store.put(map_path(1), broken)
        with pytest.raises(ReleaseError, match=rf"{map_path(1)}.*{why}"):
            Volumes(tmp_path, label=True, ids=["1"])[0]


def _volumes(place: Path) -> list[float]:
    found = Release.open(place).regions()["volume_brain_stem"].to_pylist()
    return [value for value in found if value is not None]


def test_a_table_that_was_changed_is_not_read_for_its_maps(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    segment(store)
    data = store.get(REGIONS_KEY)
    store.put(REGIONS_KEY, data[:-4] + b"XXXX")
    with pytest.raises(ReleaseError, match=r"regions\.parquet is not the file that release\.json"):
        Volumes(tmp_path, label=True)


def test_two_releases_that_differ_in_their_maps_are_told_apart(tmp_path: Path) -> None:
    first, second = (make_release(tmp_path / name, N) for name in ("a", "b"))
    segment(second)
    told = compare(Release.at(first), Release.at(second)).terms
    assert told == [f"label maps: label maps of 2 regions, by two regions ({'a' * 12}), was none"]


def test_info_and_query_tell_of_the_regions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment(make_release(tmp_path, N))
    assert main(["info", str(tmp_path)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "label maps label maps of 2 regions, by two regions; under CC-BY-SA-3.0" in told
    assert "volume_left_hippocampus" in told
    query = ["query", str(tmp_path), "--where", "volume_brain_stem > 0", "--format", "csv"]
    assert main([*query, "--columns", "participant_id,volume_brain_stem"]) == 0
    assert capsys.readouterr().out.count("\n") == N + 1


def test_the_image_is_the_one_that_was_segmented(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    segment(store)
    for row in Release.at(store).regions().to_pylist():
        assert row["image_sha256"] == sha256(store.get(image_path(row["index"])))
