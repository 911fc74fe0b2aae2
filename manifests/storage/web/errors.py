"""What a refusal of a public server means for the person who ran the command, in one line."""

from __future__ import annotations

from manifests.errors import ReleaseError, StorageError
from manifests.text import one_line

MISSING = (404, 410)
_LONGEST = 200


def refusal(status: int, *, verb: str, place: str, server: str) -> ReleaseError:
    """The one line for an answer that is none of those hoped for, met when `verb`-ing `place`."""
    if status in (401, 403):
        return StorageError(
            f"cannot {verb} {place}: the server refuses it to everyone ({status}); such addresses"
            " are read without credentials, so it is not public, or it is not there"
        )
    if 300 <= status < 400:
        return ReleaseError(
            f"cannot {verb} {place}: {server} says that it lies elsewhere, and not where"
            f" ({status}); a bucket is asked for at the server of its own region"
        )
    if status == 429 or status >= 500:
        return StorageError(
            f"cannot {verb} {place}: {server} answered {status}; run the same command again later",
            exit_code=1,
        )
    return ReleaseError(f"cannot {verb} {place}: {server} answered {status}", exit_code=1)


def no_answer(error: Exception, *, verb: str, place: str, server: str) -> ReleaseError:
    """The one line for a server that cannot be reached, or that broke off."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return StorageError(
            f"cannot {verb} {place}: the certificate of {server} is not trusted here", exit_code=1
        )
    if "roxy" in type(error).__name__ or "ProxyError" in text:
        return StorageError(
            f"cannot {verb} {place}: no way through the proxy that HTTPS_PROXY or HTTP_PROXY names"
            f" ({one_line(text)[:_LONGEST]})",
            exit_code=1,
        )
    return StorageError(
        f"cannot {verb} {place}: no answer from {server}; check the address and the network, then"
        " run the same command again",
        exit_code=1,
    )
