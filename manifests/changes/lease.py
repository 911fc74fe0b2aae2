"""The lease: of all who want to change a release one does, and the dead do not stand in the way.

Whoever takes it writes into the register under an identity of his own, and again every
`RENEW_SECONDS`. A lease that was not renewed for `EXPIRY_SECONDS`, by the storage's own clock, may
be taken over; so may one whose process is known to have ended. Its holder stops `MARGIN_SECONDS`
before, by his own clock, and each of his steps is a compare-and-swap that fails once somebody else
has the lease. No two machines' clocks are compared.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from manifests.changes.conditional import check_conditional_writes
from manifests.changes.holder import Holder, elapsed
from manifests.changes.register import Decided, Register, read_register
from manifests.errors import ReleaseError, StorageError
from manifests.storage.base import LEASE_KEY, PROBE_KEY, Store

RENEW_SECONDS, EXPIRY_SECONDS, MARGIN_SECONDS = 10.0, 60.0, 15.0
POLL_SECONDS = 1.0
BEATS = True  # whether a thread renews; a simulation has its own time


class HeldError(ReleaseError):
    """Somebody else changes the release now."""


class LostLeaseError(ReleaseError):
    """Somebody else took the lease over, or may have."""


class Lease:
    """A lease that this process holds.

    Attributes:
        register: what this process last wrote.
    """

    def __init__(
        self, store: Store, register: Register, etag: str, *, since: float, removes: bool
    ) -> None:
        self.store, self.register = store, register
        self._etag, self._alive, self._removes = etag, since, removes
        self._lost = False
        self._lock = threading.RLock()

    def check(self) -> None:
        """Raise LostLeaseError unless nobody can have taken it over yet; asks nobody."""
        with self._lock:
            age = elapsed() - self._alive
            if self._lost or age > EXPIRY_SECONDS - MARGIN_SECONDS:
                raise self._lost_error()
            if not BEATS and age > RENEW_SECONDS:
                self.renew()

    def renew(self) -> None:
        """Say that its holder lives. Raises LostLeaseError where somebody else has it."""
        self._swap()

    def decide(self, change: Decided | None) -> None:
        """Decide on a change, or say that it is finished. Raises LostLeaseError."""
        self._swap(change=change)

    def free(self) -> None:
        """Give it back; a change that was decided stays to be finished."""
        with suppress(LostLeaseError):
            self._swap(holder=None)
            if self._removes and self.register.change is None:
                self.store.delete(LEASE_KEY, etag=self._etag)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Renewed by a thread while the block runs."""
        if not BEATS:
            yield
            return
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(RENEW_SECONDS):
                try:
                    self.renew()
                except LostLeaseError:
                    return
                except ReleaseError:  # the storage is away; `check` knows for how long
                    continue

        thread = threading.Thread(target=beat, name="brainpress-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _swap(self, **changes: Any) -> None:
        """Compare and swap, and read what came of it: an answer may be lost, or of an older try."""
        with self._lock:
            while not self._lost:
                started = elapsed()
                new = replace(self.register, beat=self.register.beat + 1, **changes)
                self.store.replace(LEASE_KEY, new.to_bytes(), etag=self._etag)
                found, etag = read_register(self.store)
                if found is None or found.identity != self.register.identity:
                    self._lost = True
                    break
                self.register, self._etag = found, etag
                if found == new:
                    self._alive = started
                    return
            raise self._lost_error()

    def _lost_error(self) -> LostLeaseError:
        return LostLeaseError(
            f"{self.store.uri}: this command had no contact with the storage for"
            f" {EXPIRY_SECONDS - MARGIN_SECONDS:.0f} s or more, and another one may change the"
            " release now; run the same command again, it goes on or says that nothing is left",
            exit_code=1,
        )


def acquire(store: Store, verb: str, *, wait_seconds: float = 0.0) -> Lease:
    """Take the lease.

    Where its holder may be dead, this waits until that is known.

    Args:
        verb: what it is taken for, as others are told.
        wait_seconds: for a holder that lives.

    Raises:
        HeldError: somebody else changes the release: who, since when, what he does.
        ReleaseError: the storage has no conditional writes.
    """
    removes = check_conditional_writes(store).removes
    identity, last_age = secrets.token_hex(8), _Age(store)
    began = taken = elapsed()
    while True:
        started = elapsed()
        found, etag = read_register(store)
        if found is not None and found.identity == identity:
            return Lease(store, found, etag, since=taken, removes=removes)
        taken = started
        mine = Register(
            identity=identity,
            beat=0,
            holder=Holder.here(),
            verb=verb,
            since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            change=found.change if found else None,
        )
        if found is None:
            store.put_if_absent(LEASE_KEY, mine.to_bytes())
        elif (
            found.holder is None
            or found.holder.is_gone
            or (age := last_age.of(etag)) >= EXPIRY_SECONDS
        ):
            store.replace(LEASE_KEY, mine.to_bytes(), etag=etag)
        elif age < 2 * RENEW_SECONDS and elapsed() - began >= wait_seconds:
            raise HeldError(_told(store, found, age), exit_code=1)
        else:
            time.sleep(POLL_SECONDS)


def check_held(store: Store, identity: str) -> None:
    """Ask the storage whether a lease is held still; for processes that work under it.

    Raises:
        LostLeaseError: it is not.
    """
    found, _ = read_register(store)
    if found is None or found.identity != identity or found.holder is None:
        raise LostLeaseError(
            f"{store.uri}: the command that began this has ended, or lost the right to change the"
            " release; run the same command again",
            exit_code=1,
        )


class _Age:
    """For how long the register has not been written, by the storage's clock alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._etag, self._age, self._seen = "", 0.0, 0.0

    def of(self, etag: str) -> float:
        """The age in seconds of what has `etag`; asked of the storage once, then counted here."""
        if etag != self._etag:
            self._age, self._seen = self._ask(etag), elapsed()
            self._etag = etag
        return self._age + elapsed() - self._seen

    def _ask(self, etag: str) -> float:
        now = _storage_now(self._store)
        found = self._store.look(LEASE_KEY)
        if found is None or found.etag != etag or now is None:
            return 0.0  # written again meanwhile
        return max(0.0, now - found.modified)


def _storage_now(store: Store) -> float | None:
    """The storage's clock: when it says that an object was written which is written now."""
    key = f"{PROBE_KEY}-{secrets.token_hex(8)}"
    try:
        store.put(key, b"")
        found = store.look(key)
    finally:
        with suppress(StorageError):
            store.delete(key)
    return found.modified if found else None


def _told(store: Store, found: Register, age: float) -> str:
    assert found.holder is not None
    return (
        f"{store.uri} is being changed: `brainpress {found.verb}` of {found.holder.told} since"
        f" {found.since}, last sign of life {age:.0f} s ago; run the same command again when that"
        f" has ended (if it died, {EXPIRY_SECONDS:.0f} s after its last sign)"
    )
