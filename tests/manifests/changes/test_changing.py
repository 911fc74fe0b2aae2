"""Commands on one release at once, by real stores: both are done, or one is told to come again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from manifests.changes.changing import changing
from manifests.changes.lease import HeldError, Lease
from manifests.changes.register import STAGED, Decided
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import MANIFEST_KEY, image_path, participant_id
from manifests.format.parquet import read_columns
from manifests.format.schema import rows_table
from manifests.format.tombstones import tombstones
from manifests.ledger import Ledger, ShardPlan
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.publish.withdrawal import withdraw
from manifests.query.held import held
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import ChangedError
from manifests.verify import verify
from ray_jobs.cli import main
from tests import ROOT
from tests.manifests.publish.test_kill import small_page
from tests.manifests.publish.test_publication import grow
from tests.manifests.releases import SCHEMA, image_bytes, make_release, row

N, WHY = 6, "no cerebellum"
IDS = ("sub-000001", "sub-000004")
OPTIONS = PublishOptions(license="CC-BY-4.0", date="2026-11-23", authors=("A. Lab",))


def withdraws(place: str, sample: int) -> None:
    withdraw(Release.open(place), [participant_id(sample)], WHY, page=small_page)


def publishes(place: str) -> None:
    done = publish(Release.open(place), OPTIONS, page=small_page)
    assert done.report.ok, done.report.findings


def is_whole(place: str) -> Release:
    release = Release.open(place)
    assert verify(release).findings == []
    return release


def test_two_who_withdraw_at_once_both_leave_their_tombstone(place: str) -> None:
    """Both read the release before either wrote, as commands do that begin together."""
    make_release(place, N)
    opened = [Release.open(place), Release.open(place)]
    failed: list[BaseException] = []

    def act(release: Release, sample: str) -> None:
        while True:
            try:
                withdraw(release, [sample], WHY, page=small_page)
                return
            except HeldError:  # who is told to come again does
                continue
            except BaseException as error:
                failed.append(error)
                return

    threads = [threading.Thread(target=act, args=pair) for pair in zip(opened, IDS, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert tombstones(is_whole(place).query()) == {1: WHY, 4: WHY}


def test_withdraw_during_publish_is_told_and_neither_is_lost(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(place, N)

    def page(release: Release, viewer: str | None) -> Mapping[str, bytes]:
        assert main(["withdraw", place, "sub-000001", "--reason", WHY, "--yes"]) == 1
        return small_page(release, viewer)

    assert publish(Release.open(place), OPTIONS, page=page).version == "1.0.0"
    assert "is being changed: `brainpress publish` of" in capsys.readouterr().err
    assert is_whole(place).document.published is not None
    withdraws(place, 1)
    assert tombstones(is_whole(place).query()) == {1: WHY}


def test_generate_that_ends_during_publish_waits_for_it(place: str) -> None:
    make_release(place, N)
    growing: list[threading.Thread] = []

    def page(release: Release, viewer: str | None) -> Mapping[str, bytes]:
        if not growing:
            growing.append(threading.Thread(target=grow, args=(place, 2 * N)))
            growing[0].start()
            growing[0].join(1)
            assert growing[0].is_alive()
        return small_page(release, viewer)

    publish(Release.open(place), OPTIONS, page=page)
    growing[0].join()
    release = is_whole(place)
    assert release.about["counts"]["samples"] == 2 * N
    assert release.document.published is not None


def test_a_part_that_a_worker_made_larger_meanwhile_keeps_both(place: str) -> None:
    store = make_release(place, N)
    larger = ShardPlan(8, 4)
    made = rows_table([row(index, image_bytes(index)) for index in range(4, 8)], SCHEMA)
    decide = Lease.decide

    def and_grows(lease: Lease, change: Decided | None) -> None:
        decide(lease, change)
        if change is not None:
            assert Ledger(store).commit(1, made, larger.expected_rows(1)) == "committed"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lease, "decide", and_grows)
        withdraws(place, 5)
    part = read_columns(store, "manifest/part-00001.parquet")
    assert part.num_rows == 4
    assert tombstones(part) == {5: WHY}
    codes = {finding.code for finding in verify(Release.open(place)).findings}
    assert codes == {"part-grown"}


DIES = """
import os, sys
from manifests.storage.base import LEASE_KEY
from manifests.changes.changing import Changing
from ray_jobs.cli import main
put = Changing._put_one
def dies(self, key, change, get):
    if key == "release.json":
        os._exit(9)
    put(self, key, change, get)
Changing._put_one = dies
main(["withdraw", sys.argv[1], "sub-000001", "--reason", "no cerebellum", "--yes"])
"""


def test_what_a_killed_withdraw_had_decided_is_seen_at_once_and_finished_by_publish(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(place, N)
    done = subprocess.run([sys.executable, "-c", DIES, place], cwd=ROOT, check=False)
    assert done.returncode == 9
    seen = Release.open(place)
    assert tombstones(seen.query()) == {1: WHY}
    assert sha256(seen.store.get(MANIFEST_KEY)) == seen.about["files"][MANIFEST_KEY]
    assert {f.code for f in verify(seen).findings} == {"change-unfinished"}
    assert main(["publish", place, "--license", "CC-BY-4.0", "--private"]) == 0
    told = capsys.readouterr().out
    assert "an interrupted `brainpress withdraw` was finished first: 1 samples, 1" in told
    assert tombstones(is_whole(place).query()) == {1: WHY}
    with pytest.raises(KeyError):
        store.get(image_path(1))
    assert list(store.list(f"{STAGED}/")) == []


def test_a_reader_whose_release_was_changed_is_told_so_and_a_command_reads_again(
    place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_release(place, N)
    release = Release.open(place)
    withdraws(place, 1)
    with pytest.raises(ChangedError, match="was changed while it was being read") as caught:
        release.query()
    assert caught.value.exit_code == 1
    with pytest.raises(ChangedError, match="was changed while it was being read"), held(release):
        pass
    query, changed = Release.query, []

    def meanwhile(self: Release, *arguments: object, **options: object) -> object:
        if not changed:
            changed.append(True)
            withdraws(place, 4)
        return query(self, *arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Release, "query", meanwhile)
        assert main(["query", place, "--columns", "index", "--where", "status = 'ok'"]) == 0
    assert capsys.readouterr().out.split()[1:] == ["0", "2", "3", "5"]


def test_a_file_that_is_replaced_while_its_ranges_are_read_is_read_as_it_was_or_told(
    place: str,
) -> None:
    store = open_store(place)
    first, second = bytes(300_000), b"1" * 300_000
    store.put("x", first)
    with store.open("x") as file:
        start = file.read(10)
        store.put("x", second)
        try:
            rest = file.read()
        except ChangedError:
            assert not store.is_local
        else:
            assert start + rest == first


def test_where_folders_cannot_be_locked_as_on_nfs_a_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl
    import os
    import stat

    flock = fcntl.flock

    def of_files_only(handle: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", of_files_only)
    make_release(tmp_path, N)
    withdraws(str(tmp_path), 1)
    assert tombstones(is_whole(str(tmp_path)).query()) == {1: WHY}


def test_a_staged_file_that_was_lost_is_told_and_nothing_is_made_up(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], cwd=ROOT, check=False)
    for entry in list(store.list(f"{STAGED}/")):
        if entry.key.endswith("release.json"):
            store.delete(entry.key)
    missing = r"release\.json is missing or was changed"
    with pytest.raises(ReleaseError, match=missing) as caught, changing(store, "withdraw"):
        pass
    assert caught.value.exit_code == 1
