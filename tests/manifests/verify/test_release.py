"""Every kind of damage to a release is found, named, and makes the check fail."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow as pa
import pytest

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import image_path, part_key
from manifests.format.parquet import parquet_bytes
from manifests.format.schema import Column, manifest_schema, rows_table
from manifests.ledger import ShardPlan
from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.verify import verify
from manifests.verify.findings import Finding
from manifests.volumes.nifti import check_volume
from tests.manifests.releases import (
    COLUMNS,
    QUALITY,
    SCHEMA,
    document,
    image_bytes,
    make_release,
    row,
    write_shard,
)
from tests.servers import S3Server, public_read_policy

N = 6


def codes(findings: list[Finding]) -> dict[str, str]:
    """What was found about which key, errors only."""
    return {f.code: f.key for f in findings if f.severity == "error"}


def test_a_sound_release_has_no_finding(place: str) -> None:
    make_release(place, N)
    report = verify(Release.open(place))
    assert report.findings == []
    assert report.ok
    assert (report.samples, report.images) == (N, N)
    assert report.image_bytes == sum(len(image_bytes(index)) for index in range(N))


def test_a_failed_sample_is_an_error(tmp_path: Path) -> None:
    make_release(tmp_path, N, failed=[2])
    report = verify(Release.open(tmp_path))
    assert codes(report.findings) == {"sample-failed": "sub-000002"}
    assert not report.ok


def flip_a_bit(store: Store, key: str) -> None:
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data))


DAMAGE: dict[str, tuple[Callable[[Store], None], dict[str, str]]] = {
    "an image is gone": (
        lambda store: store.delete(image_path(1)),
        {"image-missing": image_path(1)},
    ),
    "a bit of an image flipped": (
        lambda store: flip_a_bit(store, image_path(1)),
        {"image-changed": image_path(1), "image-content": image_path(1)},
    ),
    "an image is cut off": (
        lambda store: store.put(image_path(1), store.get(image_path(1))[:-7]),
        {"image-size": image_path(1), "image-content": image_path(1)},
    ),
    "two images were swapped": (
        lambda store: store.put(image_path(1), store.get(image_path(2))),
        {"image-swapped": image_path(1)},
    ),
    "the readme was edited": (
        lambda store: store.put("README.md", b"nothing to see"),
        {"file-changed": "README.md"},
    ),
    "a preview is gone": (
        lambda store: store.delete("previews/mosaic.png"),
        {"file-missing": "previews/mosaic.png"},
    ),
    "the manifest is gone": (
        lambda store: store.delete("manifest.parquet"),
        {"file-missing": "manifest.parquet"},
    ),
    "the manifest is cut off": (
        lambda store: store.put("manifest.parquet", store.get("manifest.parquet")[:-9]),
        {"file-changed": "manifest.parquet", "manifest-unreadable": "manifest.parquet"},
    ),
    "a part is gone": (
        lambda store: store.delete(part_key(0)),
        {"part-missing": part_key(0)},
    ),
    "a part is cut off": (
        lambda store: store.put(part_key(0), store.get(part_key(0))[:-9]),
        {"part-unreadable": part_key(0)},
    ),
    "a part has the rows of another": (
        lambda store: store.put(part_key(0), store.get(part_key(1))),
        {"part-misplaced": part_key(0)},
    ),
    "the participants were edited": (
        lambda store: store.put("participants.tsv", b"participant_id\n"),
        {"file-changed": "participants.tsv", "participants-rows": "participants.tsv"},
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found(
    tmp_path: Path, damage: tuple[Callable[[Store], None], dict[str, str]]
) -> None:
    act, expected = damage
    act(make_release(tmp_path, N))
    report = verify(Release.open(tmp_path))
    assert codes(report.findings) == expected


def test_damage_is_found_on_s3(bucket: str) -> None:
    store = make_release(f"s3://{bucket}/release", N)
    flip_a_bit(store, image_path(3))
    store.delete(image_path(4))
    found = codes(verify(Release.open(store.uri)).findings)
    assert found["image-changed"] == image_path(3)
    assert found["image-missing"] == image_path(4)


def release_of(folder: Path, changes: dict[int, dict[str, Any]], n: int = 3) -> Release:
    """A release whose rows lie as `changes` says, and whose digests fit the lies."""
    store = open_store(folder)
    rows = []
    for index in range(n):
        data = image_bytes(index)
        store.put(image_path(index), data)
        rows.append({**row(index, data), **changes.get(index, {})})
    write_release(store, rows_table(rows, SCHEMA), document())
    return Release.open(folder)


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "scaled": ({"age_scaled": 0.123}, "covariate-scaled"),
    "level": ({"sex": "X"}, "covariate"),
    "inside, and marked": ({"extrapolated": True}, "extrapolated"),
    "outside, and not marked": (
        {"age": 90.0, "age_scaled": (90 - 44) / (82 - 44)},
        "extrapolated",
    ),
    "name": ({"participant_id": "sub-000009"}, "row-name"),
    "path": ({"path": "sub-000001/anat/other.nii.gz"}, "row-path"),
    "seed": ({"seed": 8}, "row-seed"),
    "digest": ({"sha256": "0" * 64}, "image-changed"),
    "size": ({"bytes": 5}, "image-size"),
    "index": ({"index": 7}, "index-gap"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_row_that_lies_is_found(tmp_path: Path, lie: tuple[dict[str, Any], str]) -> None:
    changes, code = lie
    assert code in codes(verify(release_of(tmp_path, {1: changes})).findings)


def test_true_rows_of_the_same_making_have_no_finding(tmp_path: Path) -> None:
    outside = {"age": 90.0, "age_scaled": (90 - 44) / (82 - 44), "extrapolated": True}
    assert verify(release_of(tmp_path, {1: outside})).findings == []


@pytest.mark.parametrize(
    ("level", "scaled", "sound"), [("AD", 2.0, True), ("AD", 1.0, False), ("MCI", 0.5, False)]
)
def test_a_one_hot_level_is_checked_by_its_number(
    tmp_path: Path, level: str, scaled: float, sound: bool
) -> None:
    dx = Column(name="dx", kind="categorical", levels=("CN", "MCI", "AD"), coding="one-hot")
    columns = (*COLUMNS, dx)
    store, rows = open_store(tmp_path), []
    for index in range(2):
        data = image_bytes(index)
        store.put(image_path(index), data)
        rows.append({**row(index, data), "dx": level, "dx_scaled": scaled})
    table = rows_table(rows, manifest_schema(columns, QUALITY))
    write_release(store, table, document(columns=columns))
    found = codes(verify(Release.open(tmp_path)).findings)
    assert ("covariate-scaled" not in found) is sound


def test_an_image_that_occurs_twice_is_found(tmp_path: Path) -> None:
    release = release_of(tmp_path, {1: {"sha256": sha256(image_bytes(0)), "bytes": 10**9}})
    assert "image-repeated" in codes(verify(release).findings)


def test_counts_that_lie_are_found(tmp_path: Path) -> None:
    store = make_release(tmp_path, 3)
    about = json.loads(store.get("release.json"))
    about["counts"]["ok"] = 4
    store.put("release.json", json.dumps(about).encode())
    report = verify(Release.open(tmp_path))
    assert codes(report.findings) == {"counts": "manifest.parquet"}


def test_a_manifest_with_other_columns_is_found(tmp_path: Path) -> None:
    store = make_release(tmp_path, 3)
    store.put("manifest.parquet", parquet_bytes(pa.table({"x": [1]})))
    found = codes(verify(Release.open(tmp_path)).findings)
    assert found["manifest-schema"] == "manifest.parquet"


def test_an_image_on_another_grid_is_found(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images = [image_bytes(0), image_bytes(1, shape=(6, 6, 6))]
    for index, data in enumerate(images):
        store.put(image_path(index), data)
    table = rows_table([row(index, data) for index, data in enumerate(images)], SCHEMA)
    write_release(store, table, document())
    found = codes(verify(Release.open(tmp_path)).findings)
    assert found == {"image-geometry": image_path(1)}


def test_what_does_not_belong_is_a_warning(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    store.put("notes.txt", b"")
    report = verify(Release.open(tmp_path))
    assert [(f.severity, f.code, f.key) for f in report.findings] == [
        ("warning", "file-unlisted", "notes.txt")
    ]
    assert report.ok


def test_a_release_that_is_being_made_larger_is_still_sound(tmp_path: Path) -> None:
    store, larger = make_release(tmp_path, N), ShardPlan(12, 4)
    write_shard(store, larger, 1)
    write_shard(store, larger, 2)
    report = verify(Release.open(tmp_path))
    assert report.ok
    assert {f.code for f in report.findings} == {"part-grown", "part-unlisted", "file-unlisted"}


def nifti(values: np.ndarray, *, flat: bool = False) -> bytes:
    """A file of these values; a flat one has an affine that maps all x to 0."""
    data = bytearray(nib.Nifti1Image(values, np.eye(4)).to_bytes())
    if flat:
        data[280:296] = bytes(16)  # srow_x
    return gzip.compress(data, mtime=0)


NOISE = np.random.default_rng(0).integers(0, 4096, (4, 5, 6), dtype=np.int16)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no readable NIfTI"),
        (b"not gzip", "cannot be unpacked"),
        (nifti(NOISE)[:-20], "cannot be unpacked"),
        (gzip.compress(b"not nifti", mtime=0), "no readable NIfTI"),
        (gzip.compress(gzip.decompress(nifti(NOISE))[:-50], mtime=0), "no readable NIfTI"),
        (nifti(NOISE[..., None].repeat(2, axis=3)), "expected three dimensions"),
        (nifti(np.zeros((4, 4, 4), np.int16)), "every voxel is 0"),
        (nifti(np.full((4, 4, 4), np.nan, np.float32)), "not finite"),
        (nifti(NOISE, flat=True), "affine"),
    ],
    ids=range(9),
)
def test_an_unsound_image_is_told(data: bytes, problem: str) -> None:
    assert problem in (check_volume(data)[1] or "")


def test_a_sound_image_tells_its_geometry() -> None:
    geometry, problem = check_volume(image_bytes(0))
    assert problem is None
    assert geometry is not None
    assert geometry.shape == (10, 12, 8)
    assert geometry.affine[:4] == (2.0, 0.0, 0.0, 0.0)
    assert geometry.dtype == "int16"
    assert geometry.slope == pytest.approx(1 / 4095)


def test_a_storage_that_is_away_is_no_finding(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_release(f"s3://{bucket}", 1)
    release = Release.open(f"s3://{bucket}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "revoked")
    away = Release(open_store(release.store.uri), release.about)
    with pytest.raises(ReleaseError, match="the secret key does not fit"):
        verify(away)


def test_a_release_that_strangers_may_read_and_not_list_is_checked_but_for_what_is_too_much(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = s3.make_bucket()
    make_release(f"s3://{bucket}/release", 2)
    policy = json.loads(public_read_policy(bucket))
    policy["Statement"] = policy["Statement"][:1]
    s3.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    report = verify(Release.open(f"s3://{bucket}/release"))
    assert report.ok
    assert report.images == 2
    assert [finding.code for finding in report.findings] == ["not-listed"]
