"""The policies of the bucket, put on a real S3 server and tried as whom they are for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from manifests.storage import open_store
from tests import ROOT
from tests.servers import S3Server

POLICY = ROOT / "infra" / "aws" / "public-read-policy.json"


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


# --------------------------------------------------------------------------- the writer's policy


@pytest.fixture
def press(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a user who has the policy of the press's role and nothing more; so has the
    environment, in which a store finds its keys."""
    owner = boto3.client("s3")
    for key in ("release-1/old.json", "release-10/secret.json", "models/cohort-1/card.json"):
        owner.put_object(Bucket=bucket, Key=key, Body=key.encode())
    iam = boto3.client("iam", endpoint_url=s3.endpoint)
    user = f"press-of-{bucket}"
    iam.create_user(UserName=user)
    keys = iam.create_access_key(UserName=user)["AccessKey"]
    policy = (POLICY.parent / "press-role-policy.json").read_text().replace("my-bucket", bucket)
    iam.put_user_policy(UserName=user, PolicyName="press", PolicyDocument=policy)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    client = boto3.client("s3")
    for _ in range(100):  # the server takes a new user in with some delay
        try:
            client.list_objects_v2(Bucket=bucket)
            break
        except ClientError:
            time.sleep(0.1)
    return client


def test_the_role_of_the_press_suffices_to_write_a_release(press: Any, bucket: str) -> None:
    """Every operation that `generate` and the ledger use, through the real store."""
    store = open_store(f"s3://{bucket}/release-1")
    store.check_writable()
    store.put("sub-000000/anat/sub-000000_T1w.nii.gz", b"volume")
    assert store.put_if_absent("manifest/part-00000.parquet", b"rows")
    assert not store.put_if_absent("manifest/part-00000.parquet", b"others")
    data, etag = store.get_with_etag("manifest/part-00000.parquet")
    assert data == b"rows"
    assert store.replace("manifest/part-00000.parquet", b"more rows", etag=etag)
    with pytest.raises(KeyError):
        store.get("release.json")  # absent, and not "access denied"
    assert sorted(entry.key for entry in store.list()) == [
        "manifest/part-00000.parquet",
        "old.json",
        "sub-000000/anat/sub-000000_T1w.nii.gz",
    ]
    model = open_store(f"s3://{bucket}/models/cohort-1")
    assert model.get("card.json") == b"models/cohort-1/card.json"


@pytest.mark.parametrize("key", ["release-10/x.json", "models/cohort-1/card.json", "x.json"])
def test_the_press_writes_nowhere_else(press: Any, bucket: str, key: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        press.put_object(Bucket=bucket, Key=key, Body=b"forged")


def test_the_press_reads_no_other_release_and_deletes_nothing(press: Any, bucket: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        press.get_object(Bucket=bucket, Key="release-10/secret.json")
    for key in ("release-1/old.json", "models/cohort-1/card.json"):
        with pytest.raises(ClientError, match="AccessDenied"):
            press.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        press.put_bucket_policy(Bucket=bucket, Policy="{}")


BESIDE = ["models/cohort-1/card.json", "release-10/secret.json", "release-1", "RELEASE-1/x", ""]


def denied(act: Callable[[], object]) -> None:
    """A HEAD's refusal has no body, and so no code but its number."""
    with pytest.raises(ClientError) as caught:
        act()
    assert caught.value.response["Error"]["Code"] in ("AccessDenied", "403"), caught.value


@pytest.mark.parametrize("key", [key for key in BESIDE if key])
def test_nobody_learns_whether_something_lies_beside_the_release(
    anonymous: Any, bucket: str, key: str
) -> None:
    """Also of a key that is not there: its absence is nobody's business either."""
    denied(lambda: anonymous.get_object(Bucket=bucket, Key=key))
    denied(lambda: anonymous.head_object(Bucket=bucket, Key=key))


@pytest.mark.parametrize(
    "key", ["release-1/../models/cohort-1/card.json", "release-1//../models/x"]
)
def test_a_key_that_goes_up_from_the_release_reads_nothing_beside_it(
    anonymous: Any, bucket: str, key: str
) -> None:
    with pytest.raises(ClientError) as caught:
        anonymous.get_object(Bucket=bucket, Key=key)
    assert caught.value.response["Error"]["Code"] in ("AccessDenied", "InvalidRequest", "403")


WRITES: dict[str, Callable[[Any, str], object]] = {
    "put": lambda s3, b: s3.put_object(Bucket=b, Key="release-1/new", Body=b"forged"),
    "put if absent": lambda s3, b: s3.put_object(
        Bucket=b, Key="release-1/new", Body=b"forged", IfNoneMatch="*"
    ),
    "put an acl": lambda s3, b: s3.put_object_acl(
        Bucket=b, Key="release-1/release.json", ACL="public-read-write"
    ),
    "put tags": lambda s3, b: s3.put_object_tagging(
        Bucket=b, Key="release-1/release.json", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
    ),
    "copy": lambda s3, b: s3.copy_object(
        Bucket=b, Key="release-1/new", CopySource=f"{b}/release-1/release.json"
    ),
    "copy out of the rest": lambda s3, b: s3.copy_object(
        Bucket=b, Key="release-1/new", CopySource=f"{b}/models/cohort-1/card.json"
    ),
    "multipart": lambda s3, b: s3.create_multipart_upload(Bucket=b, Key="release-1/new"),
    "delete": lambda s3, b: s3.delete_object(Bucket=b, Key="release-1/release.json"),
    "delete many": lambda s3, b: s3.delete_objects(
        Bucket=b, Delete={"Objects": [{"Key": "release-1/release.json"}]}
    ),
}
SETTINGS: dict[str, Callable[[Any, str], object]] = {
    "read the policy": lambda s3, b: s3.get_bucket_policy(Bucket=b),
    "write the policy": lambda s3, b: s3.put_bucket_policy(Bucket=b, Policy=POLICY.read_text()),
    "remove the policy": lambda s3, b: s3.delete_bucket_policy(Bucket=b),
    "read the acl": lambda s3, b: s3.get_bucket_acl(Bucket=b),
    "write the acl": lambda s3, b: s3.put_bucket_acl(Bucket=b, ACL="public-read-write"),
    "write versioning": lambda s3, b: s3.put_bucket_versioning(
        Bucket=b, VersioningConfiguration={"Status": "Suspended"}
    ),
    "write the lifecycle": lambda s3, b: s3.put_bucket_lifecycle_configuration(
        Bucket=b,
        LifecycleConfiguration={
            "Rules": [{"ID": "x", "Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}}]
        },
    ),
    "list uploads": lambda s3, b: s3.list_multipart_uploads(Bucket=b),
    "list versions": lambda s3, b: s3.list_object_versions(Bucket=b, Prefix="models/"),
    "list with the old call": lambda s3, b: s3.list_objects(Bucket=b, Prefix="models/"),
    "list by a delimiter": lambda s3, b: s3.list_objects_v2(Bucket=b, Delimiter="/"),
    "remove the bucket": lambda s3, b: s3.delete_bucket(Bucket=b),
    "make a bucket": lambda s3, b: s3.create_bucket(Bucket=f"{b}-of-a-stranger"),
}


@pytest.mark.parametrize("act", [*WRITES.values(), *SETTINGS.values()], ids=[*WRITES, *SETTINGS])
def test_nobody_does_anything_else(
    anonymous: Any, bucket: str, act: Callable[[Any, str], object]
) -> None:
    owner = boto3.client("s3")

    def state() -> object:
        listed = owner.list_objects_v2(Bucket=bucket)["Contents"]
        found = [(item["Key"], item["ETag"]) for item in listed]
        return found, owner.get_bucket_policy(Bucket=bucket)["Policy"]

    before = state()
    denied(lambda: act(anonymous, bucket))
    assert state() == before
