"""The public-read policy of a release: strangers list and read it and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from manifests.publish import bucket_policy, strangers
from manifests.publish.bucket_policy import MOST_POLICY_BYTES, PolicyError, open_to_everyone
from manifests.publish.statements import (
    LISTS,
    READS,
    public_statements,
    with_public_read,
    without_public_read,
)
from manifests.publish.strangers import check_strangers, public_address
from manifests.storage.s3.store import S3Store
from ray_jobs.cli import main
from tests import ROOT
from tests.manifests.releases import make_release
from tests.servers import S3Server

POLICY = ROOT / "infra" / "aws" / "public-read-policy.json"
OTHERS = {
    "Sid": "TheLabWrites",
    "Effect": "Deny",
    "Principal": "*",
    "Action": ["s3:DeleteBucket"],
    "Resource": ["arn:aws:s3:::lab"],
}


# ---------------------------------------------------------------------------------- what is merged


def test_the_statements_are_those_that_infra_shows_but_for_their_names() -> None:
    shown = json.loads(POLICY.read_text())["Statement"]
    ours = public_statements("my-bucket", "release-1")
    assert [{**s, "Sid": ""} for s in ours] == [{**s, "Sid": ""} for s in shown]
    assert with_public_read(json.loads(POLICY.read_text()), "my-bucket", "release-1") is None


def test_every_statement_that_is_there_stays_and_a_second_time_adds_nothing() -> None:
    first = with_public_read({"Id": "x", "Version": "2012-10-17", "Statement": OTHERS}, "lab", "r")
    assert first is not None
    assert first["Id"] == "x"
    assert first["Statement"] == [OTHERS, *public_statements("lab", "r")]
    assert with_public_read(first, "lab", "r") is None
    second = with_public_read(first, "lab", "r2")
    assert second is not None
    assert second["Statement"][0] == OTHERS
    assert [statement["Sid"] for statement in second["Statement"][1:]] == [READS, LISTS]
    assert second["Statement"][1]["Resource"] == ["arn:aws:s3:::lab/r/*", "arn:aws:s3:::lab/r2/*"]
    assert second["Statement"][2]["Condition"] == {"StringLike": {"s3:prefix": ["r/*", "r2/*"]}}
    whole = with_public_read(second, "lab", "")
    assert whole is not None
    names = [statement["Sid"] for statement in whole["Statement"]]
    assert len(set(names)) == len(names) == 4
    assert all(name.isalnum() for name in names)
    assert without_public_read(whole, "lab", "") == second


def test_a_policy_of_one_statement_a_release_is_taken_over_and_opens_no_more() -> None:
    old = [
        {**statement, "Sid": f"{statement['Sid']}{number:016x}"}
        for number, prefix in enumerate(("a", "b", "c"))
        for statement in public_statements("lab", prefix)
    ]
    old.pop()  # somebody let c be read by who knows its keys, and not be listed
    found = with_public_read({"Statement": [*old, OTHERS]}, "lab", "d")
    assert found is not None
    assert found["Statement"] == [
        OTHERS,
        {
            **public_statements("lab", "a")[0],
            "Resource": [f"arn:aws:s3:::lab/{name}/*" for name in "abcd"],
        },
        {
            **public_statements("lab", "a")[1],
            "Condition": {"StringLike": {"s3:prefix": ["a/*", "b/*", "d/*"]}},
        },
    ]


def test_what_only_has_our_name_stays_as_it_is() -> None:
    theirs = {**public_statements("lab", "a")[0], "Condition": {"Bool": {"aws:Secure": "true"}}}
    found = with_public_read({"Statement": [theirs]}, "lab", "a")
    assert found is not None
    assert found["Statement"] == [theirs, *public_statements("lab", "a")]
    assert without_public_read(found, "lab", "a") == {**found, "Statement": [theirs]}


def test_a_policy_holds_many_releases_and_says_when_it_is_full() -> None:
    name = "releases/synthetic-brains-{:03d}"
    policy, held = None, 0
    while len(json.dumps(policy, separators=(",", ":"))) <= MOST_POLICY_BYTES:
        policy, held = with_public_read(policy, "a-lab-s-bucket", name.format(held)), held + 1
    assert held > 150

    last = name.format(held - 1)
    before = json.dumps(without_public_read(policy, "a-lab-s-bucket", last))
    client = SimpleNamespace(get_bucket_policy=lambda **_: {"Policy": before})
    store: Any = SimpleNamespace(
        uri="s3://a", bucket="a-lab-s-bucket", prefix=f"{last}/", partition="aws", client=client
    )
    with pytest.raises(PolicyError, match="has no room to open it"):
        open_to_everyone(store)


@given(st.text("ab/", max_size=6), st.text("ab/", max_size=6))
def test_a_release_s_statements_never_stand_for_another_s(one: str, other: str) -> None:
    policy = with_public_read(None, "lab", one.strip("/"))
    again = with_public_read(policy, "lab", other.strip("/"))
    assert (again is None) == (one.strip("/") == other.strip("/"))


def test_a_server_that_writes_a_list_of_one_alone_says_the_same() -> None:
    stored = [
        {
            **statement,
            "Action": statement["Action"][0],
            "Resource": statement["Resource"][0],
            "Principal": {"AWS": "*"},
        }
        for statement in public_statements("lab", "r")
    ]
    stored[1]["Condition"] = {"StringLike": {"s3:prefix": "r/*"}}
    assert with_public_read({"Statement": stored}, "lab", "r") is None


@pytest.mark.parametrize("prefix", ["a*", "a/b?", "${aws:username}"])
def test_a_prefix_that_a_policy_takes_for_a_wildcard_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="would open more than the release"):
        public_statements("lab", prefix)


# ------------------------------------------------------------------------------- on a real server


@pytest.fixture
def stranger(s3: S3Server) -> Any:
    return boto3.client("s3", config=Config(signature_version=UNSIGNED))


def as_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def test_strangers_use_a_published_release_and_see_nothing_beside_it(
    bucket: str,
    stranger: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    owner = boto3.client("s3")
    for key in ("a/secret.json", "a/release-2/x", "b/x"):
        owner.put_object(Bucket=bucket, Key=key, Body=b"secret")
    deny = {**OTHERS, "Resource": [f"arn:aws:s3:::{bucket}"]}
    policy = {"Version": "2012-10-17", "Statement": [deny]}
    owner.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 4)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 0
    told = capsys.readouterr().out
    assert f"anyone can now list and read {uri}/: http" in told
    stored = json.loads(owner.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert stored[0]["Sid"] == OTHERS["Sid"]
    assert len(stored) == 3

    assert main(["publish", uri]) == 0
    told = capsys.readouterr().out
    assert "nothing to publish: version 1.0.0" in told
    assert f"anyone could already list and read {uri}/" in told
    assert json.loads(owner.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"] == stored

    for prefix in ("", "a/", "a/release-2/", "b/"):
        with pytest.raises(ClientError, match="AccessDenied"):
            stranger.list_objects_v2(Bucket=bucket, Prefix=prefix)
    for key in ("a/secret.json", "a/release-2/x", "b/x"):
        with pytest.raises(ClientError, match="AccessDenied"):
            stranger.get_object(Bucket=bucket, Key=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger.put_object(Bucket=bucket, Key="a/release/release.json", Body=b"forged")

    as_a_stranger(monkeypatch)
    assert main(["info", uri]) == 0
    assert main(["info", uri, "--release-version", "1.0.0"]) == 0
    assert main(["query", uri, "--where", "age > 40"]) == 0
    assert main(["verify", uri]) == 0
    assert main(["download", uri, str(tmp_path / "d")]) == 0
    capsys.readouterr()
    for act in (["publish", uri], ["withdraw", uri, "sub-000001", "--reason", "mine", "--yes"]):
        assert main(act) == 2
        assert "found no AWS credentials" in capsys.readouterr().err


def test_privately_the_policy_is_left_alone(bucket: str, stranger: Any) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab", "--private"]) == 0
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        boto3.client("s3").get_bucket_policy(Bucket=bucket)
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger.get_object(Bucket=bucket, Key="a/release/release.json")


def test_a_release_that_is_a_whole_bucket_is_opened_whole(bucket: str, stranger: Any) -> None:
    make_release(f"s3://{bucket}", 2)
    assert main(["publish", f"s3://{bucket}", "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 0
    listed = stranger.list_objects_v2(Bucket=bucket)["Contents"]
    assert "release.json" in [entry["Key"] for entry in listed]


# ------------------------------------------------------------------------- what a server may refuse


BLOCKED = (
    'User: arn:aws:iam::1:user/x is not authorized to perform: s3:PutBucketPolicy on resource: "arn'
    ':aws:s3:::lab" because public policies are prevented by the BlockPublicPolicy setting in S3'
    " Block Public Access."
)


class Server:
    """A client of a bucket whose policy somebody keeps changing, or that refuses."""

    meta = SimpleNamespace(endpoint_url="https://s3.example.org", partition="aws")

    def __init__(self, *, code: str = "", text: str = "", lost: int = 0) -> None:
        self.code, self.text, self.lost = code, text, lost
        self.policy: str | None = None
        self.puts = 0

    def get_bucket_policy(self, **about: Any) -> dict[str, str]:
        if self.policy is None:
            raise ClientError({"Error": {"Code": "NoSuchBucketPolicy"}}, "GetBucketPolicy")
        return {"Policy": self.policy}

    def put_bucket_policy(self, *, Policy: str, **about: Any) -> None:
        if self.code:
            error = {"Error": {"Code": self.code, "Message": self.text}}
            raise ClientError(error, "PutBucketPolicy")  # type: ignore[arg-type]
        self.puts += 1
        if self.puts > self.lost:
            self.policy = Policy
        else:  # another writer read the policy before us and wrote it after
            self.policy = json.dumps({"Version": "2012-10-17", "Statement": [OTHERS]})


def store_of(server: Server) -> S3Store:
    store = S3Store("lab", "r")
    store._clients.known = server
    return store


@pytest.mark.parametrize(
    ("code", "text", "line"),
    [
        ("AccessDenied", BLOCKED, "switch off BlockPublicPolicy and RestrictPublicBuckets"),
        ("AccessDenied", "Access Denied", "lack s3:GetBucketPolicy or s3:PutBucketPolicy"),
        ("NotImplemented", "", "the server knows no bucket policies"),
        ("MethodNotAllowed", "", "the server knows no bucket policies"),
        ("MalformedPolicy", "Policies must be valid JSON", "Policies must be valid JSON"),
    ],
    ids=["block public access", "no permission", "not implemented", "not allowed", "else"],
)
def test_where_the_policy_cannot_be_set_one_line_says_what_to_do(
    code: str, text: str, line: str
) -> None:
    with pytest.raises(PolicyError, match=line) as caught:
        open_to_everyone(store_of(Server(code=code, text=text)))
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith("s3://lab/r is published, but the policy of bucket 'lab'")
    assert "\n" not in str(caught.value)


def test_everything_else_is_done_where_the_policy_cannot_be_set(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)

    def refuse(store: S3Store) -> bool:
        raise PolicyError(f"{store.uri} is published, but the policy cannot be set: ask its owner")

    monkeypatch.setattr(bucket_policy, "open_to_everyone", refuse)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 1
    told = capsys.readouterr()
    assert "version 1.0.0 of" in told.out
    assert told.err.splitlines()[-1].endswith("ask its owner")
    assert main(["verify", uri]) == 0
    policy = json.dumps(with_public_read(None, bucket, "a/release"))
    boto3.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    check_strangers(S3Store(bucket, "a/release"))
    capsys.readouterr()
    assert main(["publish", uri]) == 0  # its owner has opened it
    assert f"anyone could already list and read {uri}/" in capsys.readouterr().out


def test_a_change_that_another_writer_undoes_is_made_again() -> None:
    server = Server(lost=2)
    assert open_to_everyone(store_of(server))
    assert server.puts == 3
    assert len(json.loads(server.policy or "")["Statement"]) == 3
    with pytest.raises(PolicyError, match="somebody else keeps changing the policy"):
        open_to_everyone(store_of(Server(lost=99)))


def test_a_release_that_stays_closed_is_told(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where Block Public Access takes a public policy and heeds it not."""
    monkeypatch.setattr(strangers, "SEEN_WITHIN_SECONDS", 0.0)
    monkeypatch.setattr(bucket_policy, "open_to_everyone", lambda store: True)
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 1
    assert "a stranger cannot read the release (403)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("endpoint", "there", "bucket", "prefix", "address"),
    [
        ("http://127.0.0.1:9", "", "lab", "a b/r", "http://127.0.0.1:9/lab/a%20b/r/index.html"),
        (
            "https://s3.eu-west-1.amazonaws.com",
            "eu-west-1",
            "lab",
            "r",
            "https://lab.s3.eu-west-1.amazonaws.com/r/index.html",
        ),
        (
            "https://s3.eu-west-1.amazonaws.com",
            "ap-east-1",
            "lab.org",
            "",
            "https://s3.ap-east-1.amazonaws.com/lab.org/index.html",
        ),
        (
            "https://s3.amazonaws.com",
            "ap-east-1",
            "lab",
            "r",
            "https://lab.s3.ap-east-1.amazonaws.com/r/index.html",
        ),
        (
            "https://s3.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
            "lab",
            "r",
            "https://lab.s3.cn-north-1.amazonaws.com.cn/r/index.html",
        ),
    ],
    ids=["one's own", "aws", "a dot, in another region", "in another region", "China"],
)
def test_the_address_of_the_page(
    endpoint: str, there: str, bucket: str, prefix: str, address: str
) -> None:
    class Client:
        meta = SimpleNamespace(
            endpoint_url=endpoint, region_name="cn-north-1" if ".cn" in endpoint else "eu-west-1"
        )

        def head_bucket(self, **about: Any) -> None:
            told = {"HTTPHeaders": {"x-amz-bucket-region": there}}
            # Who may not list the bucket is told all the same.
            raise ClientError({"Error": {"Code": "403"}, "ResponseMetadata": told}, "HeadBucket")  # type: ignore[typeddict-item]

    store = S3Store(bucket, prefix)
    store._clients.known = Client()
    assert public_address(store) == address


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_a_policy_names_the_bucket_as_its_partition_does(
    region: str, partition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_REGION", region)
    store = S3Store("lab", "r")
    statements = public_statements("lab", "r", partition=store.partition)
    assert statements[0]["Resource"] == [f"arn:{partition}:s3:::lab/r/*"]
    assert statements[1]["Resource"] == [f"arn:{partition}:s3:::lab"]
    # Elsewhere than in the partition of the whole world, readers have to be told of the server.
    assert (store.words == ("s3://lab/r",)) == (partition == "aws")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # a server with a region's name
    assert S3Store("lab", "r").partition == "aws"
