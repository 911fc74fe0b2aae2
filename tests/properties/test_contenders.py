"""Commands that change one release at once lose nothing, and the simulator finds faults of ours.

The long version is `python -m tests.faults.contenders --schedules 100000`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from manifests.changes.changing import Changing, GetFile
from manifests.changes.journal import Change
from manifests.changes.lease import Lease, acquire
from manifests.changes.seen import Seen, look_at
from tests.faults.contenders import ContendedStore, Parts, Policy, many, simulate
from tests.faults.simulation import BrokenLaw


def test_three_hundred_schedules_of_commands_that_die_lose_nothing() -> None:
    happened, requests = many(0, 300)
    assert requests > 30_000
    for kind in (
        "died before a request",
        "died after a request",
        "frozen, and the request came late",
        "finished what another had decided",
        "conditional put done, answer lost",
        "told: HeldError",
        "told: LostLeaseError",
        "(read while it was put in place)",
        "(a reader was told that it had changed)",
    ):
        assert happened[kind] > 20, kind
    assert happened["told: ShutError"] > 2


def test_a_schedule_is_a_function_of_its_seed() -> None:
    first, second = Counter[str](), Counter[str]()
    assert simulate(7, Parts(), first) == simulate(7, Parts(), second)
    assert first == second


# --------------------------------------------------------- faults of ours, which must be found


class IgnoresConditions(ContendedStore):
    """As of a server that obeys a conditional put whether or not its condition is met."""

    def _conditional(self, key: str, data: bytes, etag: str | None) -> bool:
        self.put(key, data)
        return True


class Forgets(Changing):
    """What the dead had decided is thrown away."""

    def finish_decided(self) -> None:
        if self.lease.register.change is not None:
            self.lease.decide(None)
        self._clean()


class PutsBlindly(Changing):
    """Files are put in their place whatever lies there by now."""

    def _put_one(self, key: str, change: Change, get: GetFile) -> None:
        self.lease.check()
        self.store.put(key, get(key))


class RemovesFirst(Changing):
    """What is to go goes before the change is decided."""

    def commit(
        self,
        verb: str,
        files: Mapping[str, Any],
        release_json: bytes,
        *,
        removed: Iterable[str] = (),
        **more: Any,
    ) -> None:
        self.remove(removed)
        super().commit(verb, files, release_json, removed=removed, **more)


class NeverStops(Lease):
    """Its holder does not look at the clock, and takes any register for his own."""

    def check(self) -> None:
        pass

    def decide(self, change: Any) -> None:
        self.register = self.register.__class__(**{**vars(self.register), "change": change})
        self.store.put(".brainpress-lease.json", self.register.to_bytes())


def changing_with(kind: type[Changing], lease_kind: type[Lease] = Lease) -> Any:
    @contextmanager
    def change(
        store: ContendedStore, verb: str, *, wait_seconds: float = 0.0
    ) -> Iterator[Changing]:
        lease = acquire(store, verb, wait_seconds=wait_seconds)
        lease.__class__ = lease_kind
        work = kind(store=store, lease=lease)
        try:
            work.finish_decided()
            yield work
        finally:
            lease.free()

    return change


class Trusting(Seen):
    """Takes what it read for what it opened."""

    def confirm(self) -> None:
        pass


def looks_once(store: ContendedStore) -> Seen:
    seen = look_at(store)
    return Trusting(seen.place, seen.store, seen.release_json, seen.stamp)


def opens_unasked(store: ContendedStore, gate: Policy, **_: Any) -> bool:
    """As `publish` once did: whatever became of the release since."""
    return gate.open()


def closes_once(
    store: ContendedStore, gate: Policy, mark: Callable[[Changing], int], **more: Any
) -> int:
    """As `unpublish` once did: closed first, marked later."""
    with more["change"](store, "unpublish", wait_seconds=60) as work:
        return mark(work)


def closes_last(
    store: ContendedStore, gate: Policy, mark: Callable[[Changing], int], **more: Any
) -> int:
    """Marks it first, and may die before it closes."""
    with more["change"](store, "unpublish", wait_seconds=60) as work:
        marked = mark(work)
        gate.close()
        return marked


PLANTED = {
    "a server that ignores conditions": Parts(store=IgnoresConditions),
    "a dead one's decision that is forgotten": Parts(change=changing_with(Forgets)),
    "files put over newer ones": Parts(change=changing_with(PutsBlindly)),
    "images removed too early": Parts(change=changing_with(RemovesFirst)),
    "a holder that never stops": Parts(change=changing_with(Changing, NeverStops)),
    "a reader that looks once": Parts(look=looks_once),
    "opened whatever the release says": Parts(let_in=opens_unasked),
    "closed before it is marked only": Parts(shut_out=closes_once),
    "marked before it is closed": Parts(shut_out=closes_last),
}


@pytest.mark.parametrize("parts", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_is_found(parts: Parts) -> None:
    with pytest.raises(BrokenLaw, match="seed"):
        many(1_060, 3_000, parts)  # one of them shows in one of 1,000 schedules
