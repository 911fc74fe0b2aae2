"""The public bucket policy, put on a real S3 server and tried as an anonymous reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.servers import S3Server

POLICY = Path(__file__).resolve().parents[2] / "infra" / "aws" / "public-read-policy.json"


@pytest.fixture
def anonymous(s3: S3Server, bucket: str) -> Any:
    """A client without credentials; the bucket holds a release, a model, and the policy."""
    owner = boto3.client("s3")
    for key in ("release-1/release.json", "release-10/secret.json", "models/cohort-1/card.json"):
        owner.put_object(Bucket=bucket, Key=key, Body=key.encode())
    owner.put_bucket_policy(Bucket=bucket, Policy=POLICY.read_text().replace("my-bucket", bucket))
    return boto3.client("s3", config=Config(signature_version=UNSIGNED))


def test_anybody_reads_and_lists_the_release(anonymous: Any, bucket: str) -> None:
    body = anonymous.get_object(Bucket=bucket, Key="release-1/release.json")["Body"].read()
    assert body == b"release-1/release.json"
    listed = anonymous.list_objects_v2(Bucket=bucket, Prefix="release-1/")["Contents"]
    assert [entry["Key"] for entry in listed] == ["release-1/release.json"]


@pytest.mark.parametrize("key", ["models/cohort-1/card.json", "release-10/secret.json"])
def test_nobody_reads_what_is_beside_the_release(anonymous: Any, bucket: str, key: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        anonymous.get_object(Bucket=bucket, Key=key)


def test_nobody_writes_or_removes_anything(anonymous: Any, bucket: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        anonymous.put_object(Bucket=bucket, Key="release-1/release.json", Body=b"forged")
    with pytest.raises(ClientError, match="AccessDenied"):
        anonymous.delete_object(Bucket=bucket, Key="release-1/release.json")


@pytest.mark.parametrize("prefix", ["", "models/", "release-10/"])
def test_nobody_lists_the_rest_of_the_bucket(anonymous: Any, bucket: str, prefix: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        anonymous.list_objects_v2(Bucket=bucket, Prefix=prefix)
