"""What an operator is told of a release that is being made, from its storage alone."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifests.format.layout import part_key
from manifests.ledger import ShardPlan
from manifests.ledger.status import State, Status, read_status
from manifests.storage import open_store
from ray_jobs.cli import main
from ray_jobs.status import describe
from tests.manifests.releases import begin, write_shard

PLAN = ShardPlan(30, 4)  # seven shards of 4 and one of 2
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


def release_of(folder: Path, commits: dict[int, float], plan: ShardPlan = PLAN) -> Path:
    """A release with these shards committed, each so many seconds after noon."""
    store = open_store(folder)
    begin(store, plan)
    for shard, seconds in commits.items():
        write_shard(store, plan, shard, failed=[5])
        os.utime(folder / part_key(shard), (NOON + seconds, NOON + seconds))
    return folder


def status_at(folder: Path, seconds: float, **options: bool) -> Status:
    return read_status(open_store(folder), now=NOON + seconds, **options)


def test_rate_and_time_left_come_from_when_parts_were_committed(tmp_path: Path) -> None:
    folder = release_of(tmp_path, {0: 0, 1: 20, 3: 40})
    status = status_at(folder, 50)
    assert (status.done, status.failed, status.missing) == (12, 1, 18)
    assert status.missing_shards == [2, 4, 5, 6, 7]
    assert status.rate == pytest.approx(8 / 40)  # what the first brought was made before it
    assert status.seconds_left == pytest.approx(18 / (8 / 40))
    assert status.at_work
    assert describe(status).splitlines()[1:] == [
        "samples   12 of 30 done, 1 of them failed, 18 missing",
        "shards    3 of 8 done, 5 pending, 4 samples each",
        "missing   shards 2, 4-7",
        "rate      5.0 s/volume, the last commit was 10 s ago",
        "left      1 min 30 s at that rate",
        "finished  no, it is being made",
    ]


def test_the_rate_forgets_an_interruption_of_last_night(tmp_path: Path) -> None:
    folder = release_of(tmp_path, {0: -40_000, 1: -39_990, 2: 0, 3: 8})
    assert status_at(folder, 9).rate == pytest.approx(4 / 8)


def test_a_run_that_has_stopped_has_no_time_left_and_says_so(tmp_path: Path) -> None:
    folder = release_of(tmp_path, {0: 0, 1: 20, 2: 40})
    assert status_at(folder, 99).at_work  # a pause of five usual ones
    status = status_at(folder, 3_700)
    assert not status.at_work
    assert status.seconds_left is None
    assert "the last commit was 1 h 01 min ago" in describe(status)
    assert "run the same `generate` again to go on" in describe(status)


def test_slow_shards_are_not_taken_for_a_stopped_run(tmp_path: Path) -> None:
    folder = release_of(tmp_path, {0: 0, 1: 500})
    assert status_at(folder, 500 + 2_400).at_work
    assert not status_at(folder, 500 + 2_600).at_work


def test_one_commit_tells_no_rate(tmp_path: Path) -> None:
    status = status_at(release_of(tmp_path, {0: 0}), 5)
    assert (status.rate, status.seconds_left, status.at_work) == (None, None, True)


def test_every_shard_is_told_of_with_its_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A release that grows from 10 to 30: its third shard has two of four rows."""
    release_of(tmp_path, {0: 0, 1: 10, 2: 20}, ShardPlan(10, 4))
    folder = release_of(tmp_path, {})
    states = status_at(folder, 30, by_shard=True).by_shard
    assert states is not None
    assert [s.state for s in states] == [State.DONE, State.DONE, State.SHORT] + 5 * [State.MISSING]
    assert (states[2].done, states[1].failed, states[7].first, states[7].last) == (2, 1, 28, 29)
    assert states[2].committed == "2026-11-22T12:00:20+00:00"
    assert status_at(folder, 30).missing == 20
    assert main(["status", str(folder), "--shards"]) == 1
    out = capsys.readouterr().out
    assert "      2  8-11             short        2       0  2026-11-22T12:00:20+00:00" in out
    assert main(["status", str(folder), "--shards", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["by_shard"][2]["state"] == "short"
    assert told["missing_shards"] == [2, 3, 4, 5, 6, 7]
