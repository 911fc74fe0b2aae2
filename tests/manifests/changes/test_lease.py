"""The lease: one holder, who is told of; the dead do not stand in the way, and do nothing more."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from manifests.changes import lease as lease_module
from manifests.changes.changing import changing
from manifests.changes.holder import Holder
from manifests.changes.lease import HeldError, LostLeaseError, acquire
from manifests.changes.register import read_register
from manifests.errors import ReleaseError
from manifests.storage import open_store
from manifests.storage.base import LEASE_KEY, Store
from tests import ROOT


@pytest.fixture
def store(place: str) -> Store:
    return open_store(place)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease runs out after 4 s, and nobody beats by himself."""
    for name, value in {
        "RENEW_SECONDS": 0.5,
        "EXPIRY_SECONDS": 4.0,
        "MARGIN_SECONDS": 1.0,
        "POLL_SECONDS": 0.1,
    }.items():
        monkeypatch.setattr(lease_module, name, value)
    monkeypatch.setattr(lease_module, "BEATS", False)


def test_a_held_lease_tells_who_since_when_what_and_what_to_do(store: Store) -> None:
    with changing(store, "publish"):
        holder, before = Holder.here(), [entry.key for entry in store.list()]
        with pytest.raises(HeldError) as caught:
            acquire(store, "withdraw")
        assert before == []  # no listing shows the lease
    told = str(caught.value)
    assert caught.value.exit_code == 1
    assert f"is being changed: `brainpress publish` of {holder.told} since 20" in told
    assert "last sign of life" in told
    assert "run the same command again" in told
    with changing(store, "withdraw"):
        pass
    assert read_register(store) == (None, "")  # given back, and nothing left


def test_of_many_who_want_it_at_once_one_has_it_at_a_time(store: Store) -> None:
    inside, most, turns = 0, 0, []
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal inside, most
        with changing(open_store(store.uri), "withdraw", wait_seconds=60):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with lock:
                inside -= 1
                turns.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert sorted(turns) == [0, 1, 2, 3]


def test_a_silent_holder_is_overtaken_after_a_while_and_can_do_nothing_more(
    store: Store, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the storage's clock: that of the machine may be hours wrong."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    first = acquire(store, "publish")
    began = time.monotonic()
    second = acquire(store, "withdraw", wait_seconds=20)
    assert 2.5 < time.monotonic() - began < 30
    with pytest.raises(LostLeaseError, match="run the same command again"):
        first.check()
    for act in (first.renew, lambda: first.decide(None)):
        with pytest.raises(LostLeaseError):
            act()
    first.free()  # which takes nothing away from the second
    found, _ = read_register(store)
    assert found == second.register
    second.check()


def test_a_holder_that_beats_is_not_overtaken(store: Store, soon: None) -> None:
    first, stop = acquire(store, "publish"), threading.Event()

    def beat() -> None:
        while not stop.wait(0.3):
            first.renew()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(HeldError):
            acquire(store, "withdraw", wait_seconds=6)
    finally:
        stop.set()
        thread.join()
    first.check()


def test_a_holder_stops_by_himself_before_others_may_take_over(
    store: Store, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = acquire(store, "publish")
    now = lease_module.elapsed()
    monkeypatch.setattr(lease_module, "elapsed", lambda: now + 3.5)
    with pytest.raises(LostLeaseError):
        lease.check()


DIES = """
import os, sys
from manifests.changes.lease import acquire
from manifests.storage import open_store
acquire(open_store(sys.argv[1]), "publish")
os._exit(9)
"""


def test_a_process_of_this_machine_that_ended_is_overtaken_at_once(store: Store) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, store.uri], cwd=ROOT, check=False)
    assert done.returncode == 9
    held, _ = read_register(store)
    assert held is not None
    assert held.holder is not None
    assert held.holder.is_gone
    assert not replace(held.holder, machine="another").is_gone  # nobody knows
    assert not replace(held.holder, machine="").is_gone
    began = time.monotonic()
    acquire(store, "withdraw").free()
    assert time.monotonic() - began < 20


def test_a_register_that_is_damaged_is_told_and_left(store: Store) -> None:
    for data in (b"", b"{}", b'{"identity": "x"}', b"[1]"):
        store.put(LEASE_KEY, data)
        with pytest.raises(ReleaseError, match=r"remove it|not JSON") as caught:
            acquire(store, "publish")
        assert caught.value.exit_code == 1
        assert store.get(LEASE_KEY) == data
