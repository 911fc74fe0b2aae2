"""Where a release lies: a local folder or an S3 bucket, behind the one interface `Store`."""

from __future__ import annotations

import re
from pathlib import Path

from manifests.errors import ReleaseError
from manifests.storage.base import Store
from manifests.storage.local import LocalStore


def open_store(uri: str | Path) -> Store:
    """The store at a local path, file:// or s3://bucket/prefix. Touches nothing yet.

    Credentials, region and endpoint of S3 are found as boto3 finds them (AWS_ENDPOINT_URL,
    AWS_PROFILE, ...); where there are no credentials at all, requests are unsigned.

    Raises:
        ReleaseError: an empty or malformed URI, or a scheme that is not known.
    """
    text = str(uri).strip()
    if not text:
        raise ReleaseError("empty location: expected a folder or s3://bucket/prefix")
    scheme, separator, rest = text.partition("://")
    if not separator:
        if re.match(r"^s3:/?[^/]", text):
            raise ReleaseError(f"{text}: an S3 location has two slashes, s3://bucket/prefix")
        return LocalStore(Path(text))
    if scheme == "file":
        return LocalStore(Path(rest))
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        if "@" in bucket or "?" in rest:
            raise ReleaseError(
                "an S3 location with credentials or a query in it: expected s3://bucket/prefix,"
                " and the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE)"
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", bucket):
            raise ReleaseError(f"{text}: {bucket!r} is no bucket name; expected s3://bucket/prefix")
        from manifests.storage.s3.store import S3Store

        return S3Store(bucket, prefix.strip("/"))
    raise ReleaseError(f"{text}: cannot use {scheme}://; expected a folder or s3://bucket/prefix")
