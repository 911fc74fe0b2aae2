"""How a bucket is asked: at which server, with whose credentials, and by which boto3 client."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from manifests.storage.s3.errors import refuse_credentials_in
from manifests.storage.s3.stream import Streams

ATTEMPTS = 5
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
CONNECTIONS = 32
# Of AWS: all that the public can reach, by the last labels of the names of its servers.
AWS_HOSTS = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws")
PAYING = ("GetObject", "HeadObject", "ListObjectsV2", "PutObject")


@dataclass(frozen=True, kw_only=True)
class Access:
    """What the user said of it; what they did not is found as boto3 finds it.

    Attributes:
        endpoint_url: of the server; None for that of AWS_ENDPOINT_URL, of the profile, or AWS.
        anonymous: whether credentials are left alone also where there are some.
    """

    endpoint_url: str | None = None
    anonymous: bool = False


@dataclass(frozen=True)
class Connection:
    """A boto3 client, and what goes with it.

    Attributes:
        signed: whether its requests carry credentials.
        make_streams: of its bucket. A function, not the session itself: MONAI looks for things to
            seed in all that a dataset holds, and finds no end in a session.
    """

    client: Any
    signed: bool
    make_streams: Callable[[], Streams]


def connect(bucket: str, access: Access, *, signed: bool = True) -> Connection:
    """A connection to the server of a bucket; unsigned where there are no credentials at all.

    Args:
        signed: False for one that is unsigned in any case.

    Raises:
        ReleaseError: an endpoint with credentials in it.
    """
    from botocore import UNSIGNED
    from botocore.config import Config

    wanted = signed and not access.anonymous
    session = new_session(signed=wanted)
    signed = wanted and session.get_credentials() is not None
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        max_pool_connections=CONNECTIONS,
        user_agent_extra="brainpress",
    )
    if not signed:
        config = config.merge(Config(signature_version=UNSIGNED))
    # boto3 itself knows AWS_DEFAULT_REGION alone, all else of AWS this one.
    region = os.environ.get("AWS_REGION") or None
    if access.endpoint_url is not None:
        refuse_credentials_in(access.endpoint_url)
    client = session.client(
        "s3", config=config, region_name=region, endpoint_url=access.endpoint_url
    )
    refuse_credentials_in(client.meta.endpoint_url)
    if pays := os.environ.get("AWS_REQUEST_PAYER", "").lower() == "requester":
        _pay(client)

    def make_streams() -> Streams:
        return Streams(
            session,
            client,
            bucket,
            signed=signed,
            region=region_of(client, bucket),
            requester_pays=pays,
            connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            read_timeout_seconds=READ_TIMEOUT_SECONDS,
        )

    return Connection(client, signed, make_streams)


def is_aws(client: Any) -> bool:
    """Whether a client asks AWS, and no other server that speaks as S3 does."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return any(host.endswith(f".{name}") for name in AWS_HOSTS)


def partition_of(client: Any) -> str:
    """What the ARNs of its buckets begin with: aws, aws-cn, aws-us-gov; elsewhere aws."""
    return str(client.meta.partition) if is_aws(client) else "aws"


def region_of(client: Any, bucket: str) -> str:
    """The region in which a bucket lies; the client's own where nobody tells."""
    own = client.meta.region_name or "us-east-1"
    if not is_aws(client):
        return str(own)
    try:
        answer = client.head_bucket(Bucket=bucket)
    except Exception as error:  # who may not list it is told in which region it lies all the same
        answer = getattr(error, "response", None) or {}
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or own)


def new_session(*, signed: bool = True) -> Any:
    """A boto3 session; for one without credentials an AWS_PROFILE need not be there."""
    import boto3
    import botocore.session
    from botocore.exceptions import ProfileNotFound

    bare = botocore.session.Session()
    try:
        data_path = bare.get_config_variable("data_path")
    except ProfileNotFound:
        if signed:
            raise
        bare = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
        data_path = bare.get_config_variable("data_path")
    bare.register_component("data_loader", _models(data_path))
    return boto3.session.Session(botocore_session=bare)


@cache
def _models(data_path: str | None) -> Any:
    """What botocore knows of S3, read once a process: to read it is most of making a client."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def _pay(client: Any) -> None:
    """Have the client say that whoever asks pays, without which such a bucket refuses."""

    def say(params: dict[str, Any], **_: Any) -> None:
        params.setdefault("RequestPayer", "requester")

    for operation in PAYING:
        client.meta.events.register(f"provide-client-params.s3.{operation}", say)
