"""What one file is like says nothing of the others; what people leave beside images is no fault."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest

from manifests.errors import StorageError
from manifests.format.layout import MANIFEST_KEY, image_path, part_key
from manifests.publish.statements import public_statements
from manifests.query.release import Release
from manifests.storage.local import LocalStore
from manifests.verify import verify
from ray_jobs.cli import main
from tests.manifests.publish.test_bucket_policy import as_a_stranger
from tests.manifests.releases import image_bytes, make_release

N = 6


def test_one_object_that_is_closed_does_not_end_verify(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, N)
    closed = {
        "Sid": "Closed",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [
            f"arn:aws:s3:::{bucket}/a/release/{key}" for key in (image_path(2), "CHANGES")
        ],
    }
    policy = {
        "Version": "2012-10-17",
        "Statement": [*public_statements(bucket, "a/release"), closed],
    }
    boto3.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    as_a_stranger(monkeypatch)
    assert main(["verify", uri, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == N
    assert [(f["code"], f["key"]) for f in report["findings"]] == [
        ("file-refused", "CHANGES"),
        ("image-unreadable", image_path(2)),
    ]


@pytest.mark.parametrize("key", [image_path(1), "README.md", part_key(0), MANIFEST_KEY])
def test_a_file_that_the_disk_does_not_give_out_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    make_release(tmp_path, N)
    broken({key}, monkeypatch)
    report = verify(Release.open(tmp_path))
    found = {finding.key for finding in report.findings if finding.severity == "error"}
    assert key in found
    assert not report.ok
    assert report.images == (0 if key == MANIFEST_KEY else N)


def test_a_storage_that_is_away_is_no_fault_of_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_release(tmp_path, N)
    release = Release.open(tmp_path)
    broken({image_path(1), "release.json"}, monkeypatch)
    with pytest.raises(StorageError, match="Input/output error"):
        verify(release)


def broken(keys: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LocalStore.get_with_etag

    def partly(store: LocalStore, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        if key in keys:
            raise StorageError(f"cannot read {store.uri}/{key}: Input/output error", exit_code=1)
        return whole(store, key, most=most)

    monkeypatch.setattr(LocalStore, "get_with_etag", partly)


@pytest.mark.parametrize(
    "key",
    [
        ".DS_Store",
        "sub-000001/.DS_Store",
        "sub-000001/anat/._sub-000001_T1w.nii.gz",
        "manifest/._part-00000.parquet",
        "sub-000001/anat/Thumbs.db",
        "sub-000001/anat/sub-000001_desc-brain_mask.nii.gz",
        "sub-000001/anat/sub-000001_space-MNI152_desc-preproc_T1w.nii.gz",
        "sub-000001/anat/sub-000001_T1w_seg.nii.gz",
        "sub-000001/anat/sub-000001_T1w.json",
        "sub-000001/surf/lh.pial",
        "derivatives/fastsurfer/sub-000001/mri/orig.mgz",
    ],
)
def test_what_programs_leave_beside_the_images_makes_no_release_unsound(
    tmp_path: Path, key: str
) -> None:
    store = make_release(tmp_path, 4)
    (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / key).write_bytes(b"left here")
    report = verify(Release.open(store.uri))
    assert [(f.severity, f.code, f.key) for f in report.findings] == [
        ("warning", "file-unlisted", key)
    ]


@pytest.mark.parametrize(
    "key",
    [
        "sub-000009/anat/sub-000009_T1w.nii.gz",
        "sub-000001/anat/sub-000001_run-2_T1w.nii.gz",
        "sub-000001/anat/sub-000001_acq-real_T1w.nii",
        "sub-000001/anat/sub-000001_FLAIR.nii.gz",
    ],
)
def test_an_image_that_readers_would_take_for_one_of_the_release_is_an_error(
    tmp_path: Path, key: str
) -> None:
    store = make_release(tmp_path, 4)
    store.put(key, image_bytes(9))
    assert [f.code for f in verify(Release.open(tmp_path)).findings] == ["image-extra"]
