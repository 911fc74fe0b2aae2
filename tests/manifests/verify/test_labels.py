"""Label maps broken in every way that there is a code for: each is found by its own."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow as pa
import pytest

from manifests.digests import sha256
from manifests.format.layout import RELEASE_KEY, image_path
from manifests.format.parquet import parquet_bytes, table_from_bytes
from manifests.format.segmentation.layout import (
    LABELS_KEY,
    REGIONS_KEY,
    labels_part_key,
    map_path,
)
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.verify import verify
from tests.manifests.label_maps import segment, segment_some
from tests.manifests.releases import SHAPE, make_release

N = 5
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "release"
    segment(make_release(folder, N))
    return folder


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Store:
    """A copy to break."""
    shutil.copytree(sound, tmp_path / "release")
    return open_store(tmp_path / "release")


def put(key: str, change: Callable[[bytes], bytes]) -> Callable[[Store], None]:
    """Another file, with the digest in release.json that fits."""

    def act(store: Store) -> None:
        data = change(store.get(key))
        about = json.loads(store.get(RELEASE_KEY))
        about["files"][key] = sha256(data)
        store.put(key, data)
        store.put(RELEASE_KEY, json.dumps(about).encode())

    return act


def rows(change: Callable[[Rows], Any]) -> Callable[[Store], None]:
    """Another regions.parquet: only its rows lie."""

    def altered(data: bytes) -> bytes:
        table = table_from_bytes(data, REGIONS_KEY)
        found = table.to_pylist()
        change(found)
        return parquet_bytes(pa.Table.from_pylist(found, schema=table.schema))

    return put(REGIONS_KEY, altered)


def label_map(change: Callable[[np.ndarray], np.ndarray], **fields: Any) -> Callable[[Store], None]:
    """The map of image 1 with other numbers or another header, and a row that fits."""

    def act(store: Store) -> None:
        plain = nib.Nifti1Image.from_bytes(gzip.decompress(store.get(map_path(1))))
        made = nib.Nifti1Image(change(np.asarray(plain.dataobj)), None, plain.header)
        made.set_data_dtype(np.asarray(made.dataobj).dtype)
        for name, value in fields.items():
            made.header[name] = value
        data = gzip.compress(made.to_bytes(), mtime=0)
        store.put(map_path(1), data)
        rows(lambda found: found[1].update(bytes=len(data), sha256=sha256(data)))(store)

    return act


def withdrawn(store: Store) -> None:
    """An image withdrawn by the rules, whose map comes back."""
    from manifests.publish.withdrawal import withdraw

    data = store.get(map_path(1))
    withdraw(Release.at(store), ["sub-000001"], "too dark")
    store.put(map_path(1), data)


def cut(store: Store) -> None:
    store.put(map_path(1), store.get(map_path(1))[:-7])


def flip_a_bit(store: Store) -> None:
    data = bytearray(store.get(map_path(1)))
    data[len(data) // 2] ^= 1
    store.put(map_path(1), bytes(data))


def link_out(store: Store) -> None:
    path = Path(store.uri, map_path(1))
    path.unlink()
    path.symlink_to("/etc/hostname")


WAYS: dict[str, Callable[[Store], None]] = {
    "labels-unreadable": put(REGIONS_KEY, lambda data: data[:-9]),
    "labels-schema": put(REGIONS_KEY, lambda data: parquet_bytes(pa.table({"index": [1]}))),
    "labels-repeated": rows(lambda found: found.insert(1, found[1])),
    "labels-sample": rows(lambda found: found[4].update(index=9, participant_id="sub-000009")),
    "labels-row": rows(lambda found: found[1].update(volume_brain_stem=None)),
    "labels-stale": rows(lambda found: found[1].update(image_sha256="0" * 64)),
    "labels-table": put(LABELS_KEY, lambda data: data.replace(b"left", b"right")),
    "label-missing": lambda store: store.delete(map_path(1)),
    "label-size": cut,
    "label-changed": flip_a_bit,
    "label-content": label_map(lambda numbers: numbers + 1),
    "label-geometry": label_map(lambda numbers: numbers, srow_x=[2, 0, 0, 9], qoffset_x=9),
    "label-unreadable": link_out,
    "label-withdrawn": withdrawn,
    "label-extra": lambda store: store.put(map_path(7), store.get(map_path(1))),
}
WARNINGS = {"labels-missing", "labels-refused"}
CODES = set(WAYS) | WARNINGS


@pytest.mark.parametrize("code", WAYS)
def test_each_way_to_break_label_maps_is_found_by_its_own_code(store: Store, code: str) -> None:
    WAYS[code](store)
    report = verify(Release.open(store.uri))
    errors = {finding.code for finding in report.findings if finding.severity == "error"}
    assert code in errors
    # regions.parquet that lies makes maps of its samples ones that nothing names.
    assert len(errors) <= 3, errors


def test_sound_label_maps_have_no_finding_and_are_counted(store: Store) -> None:
    report = verify(Release.open(store.uri))
    assert (report.findings, report.maps, report.images) == ([], N, N)
    assert verify(Release.open(store.uri), sample=2).maps == 2


@pytest.mark.parametrize(
    "act",
    [
        label_map(lambda numbers: numbers[1:]),
        label_map(lambda numbers: numbers, xyzt_units=1),
        label_map(lambda numbers: numbers, srow_x=[-2, 0, 0, 0], pixdim=[-1, 2, 2, 2, 0, 0, 0, 0]),
    ],
    ids=["shape", "unit", "mirrored"],
)
def test_a_map_on_another_grid_than_its_image_is_found(
    store: Store, act: Callable[[Store], None]
) -> None:
    act(store)
    found = {finding.code for finding in verify(Release.open(store.uri)).findings}
    assert found == {"label-geometry"}


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_numbers_that_are_not_of_eight_bits_are_found(store: Store, kind: type) -> None:
    label_map(lambda numbers: numbers.astype(kind))(store)
    (found,) = verify(Release.open(store.uri)).findings
    assert (found.code, found.key) == ("label-content", map_path(1))
    assert "expected plain uint8" in found.text


def test_the_map_of_another_image_is_not_taken_for_its_own(store: Store) -> None:
    first, second = (store.get(map_path(index)) for index in (1, 2))
    store.put(map_path(1), second)
    store.put(map_path(2), first)
    found = verify(Release.open(store.uri)).findings
    assert {finding.key for finding in found} == {map_path(1), map_path(2)}
    assert {finding.code for finding in found} <= {"label-changed", "label-size"}


def test_what_is_somebody_elses_below_derivatives_is_told(store: Store) -> None:
    theirs = "derivatives/other/sub-000001/anat/sub-000001_dseg.nii.gz"
    store.put(theirs, b"x")
    store.put("derivatives/segmentation/notes.txt", b"x")
    found = verify(Release.open(store.uri)).findings
    assert [(f.severity, f.code, f.key) for f in found] == [
        ("warning", "file-unlisted", theirs),
        ("warning", "file-unlisted", "derivatives/segmentation/notes.txt"),
    ]


def test_images_without_a_map_are_a_warning_and_so_are_refused_ones(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    segment(store, refused=[2])
    rows(lambda found: found.pop(3))(store)
    store.delete(map_path(3))
    report = verify(Release.open(tmp_path))
    assert report.ok
    told = {finding.code: finding.text for finding in report.findings}
    assert set(told) == WARNINGS
    assert "images without a label map: 3: run" in told["labels-missing"]
    assert told["labels-refused"] == "it has no map: no brain"


def test_maps_that_are_being_made_are_no_error(tmp_path: Path) -> None:
    store = make_release(tmp_path, 20)
    segment_some(store, blocks=1)
    report = verify(Release.open(tmp_path))
    assert report.ok
    assert {finding.code for finding in report.findings} == {"change-unfinished"}
    keys = {finding.key for finding in report.findings}
    assert keys == {labels_part_key(0), *(map_path(index) for index in range(8))}


def test_a_grid_of_the_maps_is_that_of_the_images(store: Store) -> None:
    made = nib.Nifti1Image.from_bytes(gzip.decompress(store.get(map_path(0))))
    image = nib.Nifti1Image.from_bytes(gzip.decompress(store.get(image_path(0))))
    assert made.shape == image.shape == SHAPE
    np.testing.assert_array_equal(made.affine, image.affine)
