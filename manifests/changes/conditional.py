"""Whether a storage keeps the promises that one change at a time rests on: tried, not assumed."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass

from manifests.errors import ReleaseError, StorageError
from manifests.storage.base import PROBE_KEY, Store

WHAT_TO_DO = (
    "use one that has them (AWS S3, Cloudflare R2, Ceph, MinIO, SeaweedFS; a newer version of this"
    " one, perhaps), or a local folder"
)


@dataclass(frozen=True, kw_only=True)
class Conditional:
    """What a storage was found to do.

    Attributes:
        removes: whether a removal can be made to depend on the etag.
    """

    removes: bool


def check_conditional_writes(store: Store) -> Conditional:
    """Write a small object twice under conditions that only one of them meets, and remove it.

    Raises:
        ReleaseError: the storage ignores such conditions, or does not know them (exit code 2).
    """
    key = f"{PROBE_KEY}-{secrets.token_hex(8)}"
    try:
        return _try(store, key)
    except StorageError:  # away, full or closed, which says nothing about conditions
        raise
    except _IgnoredError as error:
        raise ReleaseError(
            f"{store.uri}: {store.server()} ignores conditional writes ({error}), so two commands"
            f" at once could undo each other; {WHAT_TO_DO}"
        ) from None
    except ReleaseError as error:
        raise ReleaseError(
            f"{store.uri}: {store.server()} has no conditional writes ({error}), without which two"
            f" commands at once could undo each other; {WHAT_TO_DO}"
        ) from error
    finally:
        with suppress(ReleaseError):
            store.delete(key)


class _IgnoredError(Exception):
    """A condition was not met, and the write was done."""


def _try(store: Store, key: str) -> Conditional:
    store.put_if_absent(key, b"first")  # False where its answer was lost and it was asked again
    if store.put_if_absent(key, b"second"):
        raise _IgnoredError("If-None-Match: what was there was created again")
    _, first = store.get_with_etag(key)
    store.replace(key, b"third", etag=first)
    data, _ = store.get_with_etag(key)
    if data != b"third":
        raise ReleaseError("If-Match: what was unchanged was not replaced")
    if store.replace(key, b"fourth", etag=first):
        raise _IgnoredError("If-Match: what had changed was replaced")
    store.delete(key, etag=first)
    return Conditional(removes=store.look(key) is not None)
