"""Death in the middle, and two presses at once: the bytes are those of an undisturbed run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manifests.changes.holder import Holder
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from tests import ROOT
from tests.manifests import press
from tests.manifests.ledger.test_finalise import everything

N = 8


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    press.main(str(folder), N)
    return everything(open_store(folder))


def start(uri: str, *arguments: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.manifests.press", uri, *map(str, (N, *arguments))]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_press_killed_and_run_again_prints_the_same_bytes(
    place: str, undisturbed: dict[str, bytes]
) -> None:
    for death in (2, 5):  # in the first shard; in what is left, the next
        process = start(place, death)
        process.communicate()
        assert process.returncode == -9
    again = start(place)
    again.communicate()
    assert again.returncode == 0
    assert everything(open_store(place)) == undisturbed


def test_two_presses_at_once_commit_each_shard_once_and_print_the_same_bytes(
    place: str, undisturbed: dict[str, bytes]
) -> None:
    presses = [start(place), start(place)]
    committed = [line for one in presses for line in one.communicate()[0].split()]
    assert [one.returncode for one in presses] == [0, 0]
    assert sorted(committed) == ["0", "1", "2"]
    assert everything(open_store(place)) == undisturbed


class Died(BaseException):
    """Death, where a test wants to go on living."""


class DyingStore(LocalStore):
    """A store whose holder dies before, or just after, its write number `death`."""

    death, after = 0, False

    def _write(self, name: str, *arguments: Any, **options: Any) -> Any:
        self.death -= 1
        if self.death == 0 and not self.after:
            raise Died
        result = getattr(LocalStore, name)(self, *arguments, **options)
        if self.death == 0:
            raise Died
        return result

    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        self._write("put", key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return bool(self._write("put_if_absent", key, data))

    def replace(self, key: str, data: bytes, *, etag: str) -> bool:
        return bool(self._write("replace", key, data, etag=etag))


@pytest.mark.parametrize("after", [False, True])
def test_death_at_every_single_write_is_mended_by_the_same_command(
    tmp_path: Path,
    after: bool,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Holder, "is_gone", True)  # who died was a process of its own
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # nobody cuts the power here
    deaths = 0
    for death in range(1, 100):
        store = DyingStore(tmp_path / str(death))
        store.death, store.after = death, after
        monkeypatch.setattr(press, "open_store", lambda uri, store=store: store)
        try:
            press.main(store.uri, N)
        except Died:
            deaths += 1
            press.main(store.uri, N)
        assert everything(store) == undisturbed
        if store.death > 0:  # it outlived all its writes
            break
    assert deaths > N + 3  # every image, every part, and the documents
