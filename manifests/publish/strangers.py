"""What a stranger without credentials may do with a release in a bucket, and where they look."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from manifests.format.layout import RELEASE_KEY
from manifests.publish.bucket_policy import PolicyError, read_policy
from manifests.storage.s3.connection import new_session
from manifests.storage.s3.errors import code_of
from manifests.volumes.shard_index import INDEX_KEY

if TYPE_CHECKING:
    from manifests.storage.s3.store import S3Store

SEEN_WITHIN_SECONDS = 20.0  # a server takes a policy in with some delay


def check_strangers(store: S3Store) -> None:
    """Read and list the release as whoever has no credentials, until the policy is taken in.

    Raises:
        PolicyError: it cannot be.
    """
    _refuse_encrypted(store)
    until = time.monotonic() + SEEN_WITHIN_SECONDS
    while (refusal := why_closed(store)) is not None:
        if time.monotonic() > until:
            raise PolicyError(
                f"{store.uri}: the policy is set, and yet a stranger cannot read the release"
                f" ({refusal}); look for a Deny in the policy of bucket {store.bucket!r}, and for"
                " Block Public Access"
            )
        time.sleep(0.2)


def _refuse_encrypted(store: S3Store) -> None:
    """Raise PolicyError of objects that no policy of the bucket opens to strangers."""
    try:
        head = store.client.head_object(Bucket=store.bucket, Key=store.prefix + _closing_key(store))
    except Exception:  # what strangers are told is tried in any case
        return
    if str(head.get("ServerSideEncryption", "")).startswith("aws:kms"):
        raise PolicyError(
            f"{store.uri} is encrypted with a key of AWS KMS, so no stranger can read it whatever"
            " the policy says; set the bucket's default encryption to SSE-S3 (AES256), copy the"
            f" objects onto themselves (`aws s3 cp --recursive --sse AES256 {store.uri}"
            f" {store.uri}`) and run the same command again, or use --private"
        )


def why_closed(store: S3Store) -> str | None:
    """What a stranger is told who reads and lists the release; None where nothing is refused."""
    refused = [code or "no answer" for code in _told_strangers(store) if code is not None]
    return refused[0] if refused else None


def anyone_reads(store: S3Store) -> bool:
    """Whether a stranger may read the release, or list it."""
    return None in _told_strangers(store)


def check_closed(store: S3Store) -> None:
    """Read and list the release as whoever has no credentials, until that is refused.

    Raises:
        PolicyError: it is not; by which statements of the policy.
    """
    until = time.monotonic() + SEEN_WITHIN_SECONDS
    while None in (answers := _told_strangers(store)):
        if time.monotonic() > until:
            names = ", ".join(_still_open(store)) or "none by name"
            raise PolicyError(
                f"{store.uri} is STILL OPEN to everyone: by other statements of the policy of"
                f" bucket {store.bucket!r} ({names}), or by the objects' own ACLs; take those out"
                " and run the same command again"
            )
        time.sleep(0.2)
    if "" in answers:
        raise PolicyError(
            f"{store.uri}: its policy is closed, and nobody could be asked whether strangers are"
            f" refused (no answer at {store.client.meta.endpoint_url}); run the same command again"
        )


def _still_open(store: S3Store) -> list[str]:
    """The names of statements that let everyone read or list the release."""
    policy, partition = read_policy(store, done=""), store.partition
    bucket, prefix = store.bucket, store.prefix
    there = policy.get("Statement", []) if policy else []
    found = []
    for number, one in enumerate([there] if isinstance(there, Mapping) else there, start=1):
        if not isinstance(one, Mapping) or one.get("Effect") != "Allow":
            continue
        resources = one.get("Resource")
        patterns = [resources] if isinstance(resources, str) else resources or []
        whole = one.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        places = (
            f"arn:{partition}:s3:::{bucket}/{prefix}{RELEASE_KEY}",
            f"arn:{partition}:s3:::{bucket}",
        )
        if whole and any(fnmatchcase(place, str(p)) for p in patterns for place in places):
            found.append(str(one.get("Sid") or f"statement {number}"))
    return found


def _told_strangers(store: S3Store) -> tuple[str | None, str | None]:
    """The codes of the refusals to read and to list; None of what is granted, "" of no answer."""
    from botocore import UNSIGNED
    from botocore.config import Config

    stranger = new_session(signed=False).client(
        "s3",
        endpoint_url=store.client.meta.endpoint_url,
        region_name=store.client.meta.region_name,
        config=Config(signature_version=UNSIGNED),
    )

    def refusal(ask: Callable[..., Any], **about: Any) -> str | None:
        try:
            ask(Bucket=store.bucket, **about)
        except Exception as error:
            return code_of(error)
        return None

    return (
        refusal(stranger.head_object, Key=store.prefix + _closing_key(store)),
        refusal(stranger.list_objects_v2, Prefix=store.prefix, MaxKeys=1),
    )


def _closing_key(store: S3Store) -> str:
    """The key of what closes a release; of a set of tar shards, that of its index."""
    there = store.look(RELEASE_KEY) is not None or store.look(INDEX_KEY) is None
    return RELEASE_KEY if there else INDEX_KEY


def public_address(store: S3Store) -> str:
    """The address of the release's page, for a browser."""
    from urllib.parse import quote, urlsplit

    endpoint = store.client.meta.endpoint_url.rstrip("/")
    place = quote(f"{store.prefix}index.html")
    if not store.is_aws:
        return f"{endpoint}/{store.bucket}/{place}"
    # The server of another region than the bucket's does not send a browser on.
    own, there = store.client.meta.region_name, store.region
    host = urlsplit(endpoint).netloc
    if there != own:
        host = (
            host.replace(f".{own}.", f".{there}.")
            if f".{own}." in host
            else f"s3.{there}.amazonaws.com"
        )
    if "." in store.bucket:  # no certificate fits it
        return f"https://{host}/{store.bucket}/{place}"
    return f"https://{store.bucket}.{host}/{place}"
