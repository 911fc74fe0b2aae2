"""What the addresses of public releases mean: https://, gs://, az:// and hf://."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from manifests.errors import ReleaseError
from manifests.text import is_plain, without_credentials

SCHEMES = ("https", "http", "gs", "az", "hf")
HUB = "https://huggingface.co"
GOOGLE = "https://storage.googleapis.com"
AZURE = ".blob.core.windows.net"
# What a release's folder is also known by: its page, and where its readers start.
IN_FOLDER = ("index.html", "release.json")
_HUB_PAGES = re.compile(r"/datasets/([^/]+/[^/]+)(?:/(?:tree|blob|resolve)/([^/]+)(/.*)?)?/?")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a public release lies.

    Attributes:
        uri: the address as people are told it.
        kind: what is spoken there: plain HTTP, or the interface of Google's or Azure's buckets.
        server: where requests go; of plain HTTP the folder itself.
        bucket, prefix: of a bucket; Azure calls it a container.
        account: of Azure's storage.
    """

    uri: str
    kind: Literal["http", "gs", "az"]
    server: str
    bucket: str = ""
    prefix: str = ""
    account: str = ""


def read_address(text: str, *, endpoint: str | None = None) -> Place:
    """What an address of one of `SCHEMES` means; nothing is asked.

    Args:
        endpoint: of another server that speaks as Google's or Azure's does.

    Raises:
        ReleaseError: it is malformed; what is expected.
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if not is_plain(text):
        raise ReleaseError(f"{text!a:.200}: an address is one line of text")
    if scheme in ("https", "http"):
        if endpoint is not None:
            raise ReleaseError(f"{text}: --endpoint-url is for buckets, and this names its server")
        return _web(text)
    if "?" in rest:
        raise ReleaseError(f"{scheme}://: an address with a query (?...); expected none")
    if scheme == "gs":
        bucket, prefix = _bucket(text, rest, "gs://bucket/prefix")
        server = _server(endpoint) if endpoint else GOOGLE
        uri = _joined(f"gs://{bucket}", prefix)
        return Place(uri=uri, kind="gs", server=server, bucket=bucket, prefix=prefix)
    if scheme == "az":
        return _azure(text, rest, endpoint)
    if endpoint is not None:
        raise ReleaseError(f"{text}: --endpoint-url is for buckets; the Hub's is HF_ENDPOINT")
    return _hub(text, rest)


def _web(text: str) -> Place:
    """Of a web server: the folder, whose page may be what was given."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ReleaseError(f"{without_credentials(text)}: {error}") from None
    if "@" in parts.netloc:
        raise ReleaseError(
            f"{without_credentials(text)}: an address with a user name or a password in it;"
            " expected a public one, https://host/release"
        )
    if parts.query:
        raise ReleaseError(
            f"{parts.scheme}://{parts.netloc}{parts.path}?...: an address with a query opens one"
            " file, and a release is many; expected the folder's, https://host/release"
        )
    if not parts.hostname:
        raise ReleaseError(f"{text}: names no server; expected https://host/release")
    if found := _HUB_PAGES.fullmatch(parts.path) if text.startswith(f"{HUB}/") else None:
        revision = unquote(found[2]) if found[2] else ""
        return _dataset(found[1], revision, unquote(found[3] or ""), hub=HUB)
    folder, _, last = parts.path.rpartition("/")
    path = (folder if last in IN_FOLDER else parts.path).rstrip("/")
    uri = f"{parts.scheme.lower()}://{parts.netloc}{path}"
    return Place(uri=uri, kind="http", server=uri)


def _azure(text: str, rest: str, endpoint: str | None) -> Place:
    """az://ACCOUNT.blob.core.windows.net/container/prefix, or with the account told otherwise."""
    host, _, more = rest.partition("/")
    expected = f"az://ACCOUNT{AZURE}/container/prefix"
    if host.endswith(AZURE):
        account, rest = host.removesuffix(AZURE), more
    else:
        account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    container, prefix = _bucket(text, rest, expected)
    if endpoint is None and not re.fullmatch("[a-z0-9]{3,24}", account):
        raise ReleaseError(
            f"{text}: does not say in which storage account that container is; expected {expected},"
            " or the account in AZURE_STORAGE_ACCOUNT_NAME"
        )
    server = _server(endpoint) if endpoint else f"https://{account}{AZURE}"
    start = f"az://{container}" if endpoint else f"az://{account}{AZURE}/{container}"
    return Place(
        uri=_joined(start, prefix),
        kind="az",
        server=server,
        bucket=container,
        prefix=prefix,
        account=account or "-",
    )


def _hub(text: str, rest: str) -> Place:
    """hf://datasets/OWNER/NAME[@REVISION][/FOLDER], as huggingface_hub writes it."""
    found = re.fullmatch(r"datasets/([\w.-]+/[\w.-]+)(?:@([^/@]+))?(/.*)?", rest)
    if found is None:
        raise ReleaseError(f"{text}: expected hf://datasets/OWNER/NAME, or .../NAME@REVISION")
    hub = _server(os.environ.get("HF_ENDPOINT") or HUB)
    return _dataset(found[1], unquote(found[2] or ""), found[3] or "", hub=hub)


def _dataset(name: str, revision: str, folder: str, *, hub: str) -> Place:
    folder = folder.strip("/")
    if folder.rpartition("/")[2] in IN_FOLDER:
        folder = folder.rpartition("/")[0]
    pinned = f"@{quote(revision, safe='')}" if revision else ""
    server = f"{hub}/datasets/{name}/resolve/{quote(revision or 'main', safe='')}"
    return Place(
        uri=_joined(f"hf://datasets/{name}{pinned}", folder),
        kind="http",
        server=_joined(server, quote(folder)),
    )


def _bucket(text: str, rest: str, expected: str) -> tuple[str, str]:
    bucket, _, prefix = rest.partition("/")
    if not re.fullmatch(r"[a-z0-9$][a-z0-9._-]{1,221}", bucket):
        shown = without_credentials(text)
        named = "credentials in it" if "@" in bucket else f"{bucket!r} is no name of a bucket"
        raise ReleaseError(f"{shown}: {named}; expected {expected}")
    return bucket, prefix.strip("/")


def _server(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if "@" in parts.netloc or parts.query or parts.scheme not in ("http", "https"):
        raise ReleaseError(
            f"the endpoint {without_credentials(endpoint).partition('?')[0]!a:.200} is no address"
            " of a server: expected https://host:port, without credentials or a query"
        )
    return endpoint.rstrip("/")


def _joined(start: str, rest: str) -> str:
    return f"{start}/{rest}" if rest else start
