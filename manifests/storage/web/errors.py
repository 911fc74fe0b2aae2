"""What a refusal of a public server means for the person who ran the command, in one line."""

from __future__ import annotations

import re

from manifests.errors import ReleaseError, StorageError
from manifests.text import one_line

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_LONGEST = 200
REFUSED = {401, 403}


def status_of(error: BaseException) -> int:
    """The HTTP status with which a server answered; 0 where it did not answer, or not so."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else 0


def is_missing(error: BaseException) -> bool:
    """Whether the server says that nothing lies there."""
    return isinstance(error, FileNotFoundError) or status_of(error) in (404, 410)


def breaks_off(error: BaseException) -> bool:
    """Whether an answer began and ended too early; obstore asks again only where it knows a tag."""
    return "request or response body error" in str(error)


def explain(error: BaseException, *, verb: str, place: str, server: str) -> ReleaseError:
    """The one line for an error of obstore's, met when `verb`-ing `place`."""
    status, text = status_of(error), str(error)
    if status in REFUSED:
        return StorageError(
            f"cannot {verb} {place}: the server refuses it to everyone ({status}); such addresses"
            " are read without credentials, so it is not public, or it is not there"
        )
    if "certificate" in text:
        return StorageError(
            f"cannot {verb} {place}: the certificate of {server} is not trusted here", exit_code=1
        )
    if "redirect without LOCATION" in text or status in (301, 302, 307, 308):
        return ReleaseError(
            f"cannot {verb} {place}: {server} says that it moved and not where; a bucket is named"
            " with its own region's server"
        )
    if "Content-Length Header missing" in text:
        return ReleaseError(
            f"cannot {verb} {place}: {server} does not tell how long its files are (no"
            " Content-Length); it has to serve them as they are, uncompressed"
        )
    if status == 429 or status >= 500:
        return StorageError(
            f"cannot {verb} {place}: {server} answered {status}; run the same command again later",
            exit_code=1,
        )
    if breaks_off(error) or "error sending request" in text:
        return StorageError(
            f"cannot {verb} {place}: no answer from {server}; check the address and the network,"
            " then run the same command again",
            exit_code=1,
        )
    reason = one_line(text.split("\n")[0])[:_LONGEST]
    return ReleaseError(f"cannot {verb} {place}: {reason}", exit_code=1)
