"""Where a release lies, as a `Store`: a folder, an S3 bucket, an address that anyone may read."""

from __future__ import annotations

import re
from pathlib import Path

from manifests.errors import ReleaseError
from manifests.storage.base import Store
from manifests.storage.local import LocalStore
from manifests.storage.reading import ReadOnlyStore

EXPECTED = "expected a folder, s3://bucket/prefix, or an address of https://, gs://, az:// or hf://"


def open_store(
    uri: str | Path, *, endpoint_url: str | None = None, anonymous: bool = False
) -> Store:
    """The store at a local path, file://, s3://bucket/prefix or a public address. Touches nothing.

    Credentials, region and endpoint of S3 are found as boto3 finds them (AWS_ENDPOINT_URL,
    AWS_PROFILE, ...); where there are no credentials at all, or none that are good for a public
    release, requests are unsigned. https://, gs://, az:// and hf://datasets/OWNER/NAME are read
    without credentials, and not written.

    Args:
        endpoint_url: of the server that keeps the bucket, where it is not the usual one.
        anonymous: whether credentials are left alone also where there are some.

    Raises:
        ReleaseError: an empty or malformed URI, or a scheme that is not known.
    """
    text = str(uri).strip()
    if not text:
        raise ReleaseError(f"empty location: {EXPECTED}")
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if separator and scheme == "s3":
        return _open_s3(text, rest, endpoint_url, anonymous)
    if separator and scheme != "file":
        from manifests.storage.web.address import SCHEMES
        from manifests.storage.web.store import open_web

        if scheme in SCHEMES:
            return open_web(text, endpoint_url)
        raise ReleaseError(f"{text}: cannot use {scheme}://; {EXPECTED}")
    if re.match(r"^s3:/?[^/]", text):
        raise ReleaseError(f"{text}: an S3 location has two slashes, s3://bucket/prefix")
    if endpoint_url is not None:
        raise ReleaseError(f"{text} is a folder; --endpoint-url is for buckets")
    return LocalStore(Path(rest if separator else text))


def open_to_write(uri: str | Path, *, endpoint_url: str | None = None) -> Store:
    """The store at a folder or s3://bucket/prefix. Touches nothing yet.

    Raises:
        ReleaseError: as of `open_store`; an address that is only read.
    """
    store = open_store(uri, endpoint_url=endpoint_url)
    if isinstance(store, ReadOnlyStore):
        store.refuse()
    return store


def _open_s3(text: str, rest: str, endpoint_url: str | None, anonymous: bool) -> Store:
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or "?" in rest:
        raise ReleaseError(
            "an S3 location with credentials or a query in it: expected s3://bucket/prefix,"
            " and the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE)"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", bucket):
        raise ReleaseError(f"{text}: {bucket!r} is no bucket name; expected s3://bucket/prefix")
    from manifests.storage.s3.connection import Access
    from manifests.storage.s3.store import S3Store

    access = Access(endpoint_url=endpoint_url, anonymous=anonymous)
    return S3Store(bucket, prefix.strip("/"), access=access)
