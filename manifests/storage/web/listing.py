"""What lies in a public bucket, as Google's and Azure's servers list it (XML, a page at a time)."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode
from xml.etree import ElementTree

from manifests.errors import ReleaseError
from manifests.storage.base import Entry
from manifests.storage.web.address import Place

MOST_PAGE_BYTES = 64 * 2**20


def page_url(place: Place, prefix: str, after: str) -> str:
    """Where the page of a listing is asked for that comes after another.

    Args:
        prefix: of the objects' names in the bucket.
        after: what the page before said of the next; "" of the first.
    """
    words = {"prefix": prefix}
    if place.kind == "gs":
        words |= {"list-type": "2"} | ({"continuation-token": after} if after else {})
    else:
        words |= {"restype": "container", "comp": "list"} | ({"marker": after} if after else {})
    return f"{place.server}/{place.bucket}?{urlencode(words)}"


def read_page(place: Place, text: bytes) -> tuple[list[Entry], str]:
    """The objects on a page, by name in the bucket, and what it says of the next; "" of the last.

    Raises:
        ReleaseError: it is no such page (exit code 1).
    """
    try:
        root = ElementTree.fromstring(text)
        if place.kind == "gs":
            more = root.findtext("{*}NextContinuationToken") or ""
            return [_google(one) for one in root.iterfind("{*}Contents")], more
        return [_azure(one) for one in root.iterfind("Blobs/Blob")], root.findtext(
            "NextMarker"
        ) or ""
    except (ElementTree.ParseError, ValueError, TypeError) as error:
        line = f"cannot list {place.uri}: {place.server} gives no listing of a bucket ({error})"
        raise ReleaseError(line, exit_code=1) from None


def _google(one: ElementTree.Element) -> Entry:
    date = datetime.fromisoformat(_text(one, "{*}LastModified"))
    etag = one.findtext("{*}ETag") or ""
    return Entry(_text(one, "{*}Key"), int(_text(one, "{*}Size")), etag, date.timestamp())


def _azure(one: ElementTree.Element) -> Entry:
    date = parsedate_to_datetime(_text(one, "Properties/Last-Modified"))
    size = int(_text(one, "Properties/Content-Length"))
    return Entry(_text(one, "Name"), size, one.findtext("Properties/Etag") or "", date.timestamp())


def _text(one: ElementTree.Element, path: str) -> str:
    found = one.findtext(path)
    if found is None:
        raise ValueError(f"an object without {path.removeprefix('{*}')}")
    return found
