"""The gate of a release: strangers are let in or shut out, and the release says the same.

A bucket's policy has no compare-and-swap, so a request that sets it may arrive late and undo what
somebody else did since. The order makes good for that. Whoever opens does so under the release's
lease, and looks at the release again afterwards: where it says by then that it is closed, he closes
it. Whoever closes does so at once, whatever the release is like; then, under the lease, closes it
again, since somebody may have opened it meanwhile; marks it; and closes it once more, should
somebody have opened it whose lease was lost.

What is left: a process is frozen for longer than its lease while it opens, and then it, or whoever
closes, dies before it looked. `brainpress verify` tells of a release that is marked as closed and
open all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from manifests.changes.changing import Changing, changing
from manifests.changes.journal import PUBLISH, UNPUBLISH
from manifests.errors import ReleaseError
from manifests.query.release import Release
from manifests.storage.base import Store

WAIT_SECONDS = 60.0  # for somebody else who changes the release
Change = Callable[..., AbstractContextManager[Changing]]
T = TypeVar("T")


class Gate(Protocol):
    """What lets strangers in; each says whether it had to change anything."""

    def open(self) -> bool: ...

    def close(self) -> bool: ...


class NoGate:
    """Of a folder, which strangers cannot reach."""

    def open(self) -> bool:
        return False

    def close(self) -> bool:
        return False


class ShutError(ReleaseError):
    """A release that was to be opened was unpublished meanwhile."""


def says_open(store: Store) -> bool:
    """Whether the release says that it is published, and not closed since."""
    published = Release.at(store).document.published
    return published is not None and published.closed is None


def let_in(
    place: Store,
    gate: Gate,
    *,
    is_open: Callable[[Store], bool] = says_open,
    change: Change = changing,
) -> bool:
    """Open a release that says that it is open; whether the gate had to be changed for that.

    Raises:
        HeldError: somebody else changes the release.
        ShutError: it says that it is closed, and stays so.
    """
    with change(place, PUBLISH, wait_seconds=WAIT_SECONDS) as work:
        if not is_open(place):
            raise _shut(place)
        work.lease.check()
        try:
            return gate.open()
        finally:  # the lease may have been lost before the request arrived
            if not is_open(place):
                gate.close()
                raise _shut(place)


def shut_out(
    place: Store,
    gate: Gate,
    mark: Callable[[Changing], T],
    *,
    is_open: Callable[[Store], bool] = says_open,
    change: Change = changing,
) -> T:
    """Let `mark` say in a release that it is closed, and close it.

    Raises:
        HeldError: somebody else changes the release.
        ReleaseError: it was published again meanwhile, and closed after that.
    """
    with change(place, UNPUBLISH, wait_seconds=WAIT_SECONDS) as work:
        gate.close()  # before the mark is decided: who dies after that may not come to it
        marked = mark(work)
        gate.close()
        if is_open(place):
            raise ReleaseError(
                f"{place.uri} was published again meanwhile, and strangers are shut out of it all"
                " the same; open it by `brainpress publish`, or run the same command again",
                exit_code=1,
            )
    return marked


def _shut(place: Store) -> ShutError:
    return ShutError(
        f"{place.uri} was unpublished meanwhile and stays closed; the same command opens it",
        exit_code=1,
    )
