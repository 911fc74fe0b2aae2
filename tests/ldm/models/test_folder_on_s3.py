"""A model folder in a bucket: `ldm.load("s3://...")` on a real S3 server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ldm
from ldm.errors import LdmError
from ldm.loading import describe
from ldm.models.description import AUTOENCODER
from tests.e2e.running import tiny_model
from tests.servers import S3Server


@pytest.fixture
def uri(tmp_path: Path, bucket: str, s3: S3Server) -> str:
    folder = tiny_model(tmp_path / "model")
    for path in folder.iterdir():
        s3.client().put_object(Bucket=bucket, Key=f"models/a/{path.name}", Body=path.read_bytes())
    return f"s3://{bucket}/models/a"


def test_a_model_in_a_bucket_is_the_model_on_disk(uri: str, tmp_path: Path) -> None:
    here, there = ldm.load(str(tmp_path / "model")), ldm.load(uri)
    assert here.fingerprint == there.fingerprint
    images = [model.sample(seed=3, steps=2).get_fdata() for model in (here, there)]
    np.testing.assert_array_equal(*images)


def test_a_file_missing_in_the_bucket_is_named(uri: str, bucket: str, s3: S3Server) -> None:
    s3.client().delete_object(Bucket=bucket, Key=f"models/a/{AUTOENCODER}")
    with pytest.raises(LdmError, match=AUTOENCODER) as caught:
        ldm.load(uri)
    assert "\n" not in str(caught.value)


def test_no_model_in_the_bucket_is_one_line(bucket: str) -> None:
    with pytest.raises(LdmError, match=r"nothing-here/model\.json cannot be read") as caught:
        describe(f"s3://{bucket}/nothing-here")
    assert "\n" not in str(caught.value)
