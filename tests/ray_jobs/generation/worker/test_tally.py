"""What a shard's tally counts. What becomes of it on Ray is tested in tests/e2e."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ray_jobs.generation.worker.tally import Stage, Tally
from tests.e2e.running import tiny_model
from tests.ray_jobs.generation.worker.test_worker import assignment, begun_by_another, loaded, rows

LOOSE = {"foreground_fraction": (0.0, 1.0), "mean_intensity": (0.0, 1.0)}


def test_a_shards_report_tallies_what_its_rows_say(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", bounds={**LOOSE, "mean_intensity": (0.44, 1.0)})
    out = tmp_path / "out"
    begun_by_another(model, out)
    tally = loaded(assignment(model, out, n=12, batch_size=4)).print_shard(0).tally
    made = rows(out, 0)
    assert tally.volumes + tally.failed == len(made) == 4
    assert tally.failed == sum(row["status"] == "failed" for row in made)
    assert tally.bytes == sum(row["bytes"] or 0 for row in made)
    assert tally.redraws == sum(row["attempt"] for row in made) > 0
    wanted = set(Stage) if tally.volumes else {Stage.DRAW, Stage.CHECK, Stage.WAIT, Stage.COMMIT}
    assert {stage for stage, seconds in tally.seconds.items() if seconds > 0} == wanted
    assert tally.host


def test_a_shard_that_is_completed_counts_only_what_is_new(tmp_path: Path) -> None:
    model, out = tiny_model(tmp_path / "model"), tmp_path / "out"
    first = loaded(assignment(model, out, n=6)).print_shard(1)
    grown = loaded(assignment(model, out, n=8)).print_shard(1)
    assert (first.tally.volumes, first.rows) == (2, 2)
    assert (grown.tally.volumes, grown.rows) == (2, 4)


def test_threads_lose_no_second_and_errors_are_counted_too() -> None:
    tally = Tally()

    def spend(_: int) -> None:
        with pytest.raises(OSError, match="away"), tally.stage(Stage.UPLOAD):
            raise OSError("away")
        tally.add_row({"attempt": 1, "bytes": 3})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(spend, range(400)))
    assert (tally.volumes, tally.bytes, tally.redraws) == (400, 1200, 400)
    assert tally.seconds[Stage.UPLOAD] > 0


def test_a_tally_travels_and_counts_on() -> None:
    tally = Tally(host="here")
    tally.add_row({"attempt": 0, "bytes": 10})
    there: Tally = pickle.loads(pickle.dumps(tally))
    there.add_row({"attempt": 0, "bytes": None})
    assert (there.host, there.volumes, there.failed, there.bytes) == ("here", 1, 1, 10)
