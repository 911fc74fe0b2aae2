"""What a shard's tally counts. What becomes of it on Ray is tested in tests/e2e."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_jobs.generation.metrics import METRICS, RunMetrics, Stage, Tally, in_ascii, release_label
from tests.e2e.running import tiny_model
from tests.ray_jobs.generation.test_printer import job, loaded, rows

LOOSE = {"foreground_fraction": (0.0, 1.0), "mean_intensity": (0.0, 1.0)}


def test_a_shards_report_tallies_what_its_rows_say(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", bounds={**LOOSE, "mean_intensity": (0.44, 1.0)})
    out = tmp_path / "out"
    tally = loaded(job(model, out, n=12, batch_size=4)).print_shard(0).tally
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
    first = loaded(job(model, out, n=6)).print_shard(1)
    grown = loaded(job(model, out, n=8)).print_shard(1)
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


def test_every_metric_of_the_table_is_fed_with_the_labels_it_declares() -> None:
    """Ray itself refuses a label that was not declared, and a missing one."""
    fed: dict[str, list[tuple[str, ...]]] = {}
    metrics = RunMetrics("s3://bucket/release", wanted=10, already=0)
    for name, metric in metrics._metrics.items():
        metric._record = _noting(fed, name, metric)
    tally = Tally(host="here", seconds={Stage.DRAW: 1.0}, volumes=1, bytes=2, failed=1, redraws=1)
    metrics.ready(1, 5.0)
    metrics.ready(1, 6.0)
    metrics.committed(tally)
    metrics.retried()
    metrics.gave_up()
    metrics.lost_worker()
    metrics.progressed(1)
    assert fed.keys() == METRICS.keys()
    for name, labels in fed.items():
        assert {*labels} == {tuple(sorted(("release", *METRICS[name].labels)))}, name


def _noting(fed: dict[str, list[Any]], name: str, metric: Any) -> Any:
    def record(value: float, tags: dict[str, str] | None = None) -> None:
        assert value >= 0
        final = metric._get_final_tags(tags)
        metric._validate_tags(final)
        fed.setdefault(name, []).append(tuple(sorted(final)))

    return record


@given(st.text(st.characters(categories=["L", "N"]), min_size=1), st.sampled_from(["s3", "file"]))
def test_no_secret_of_an_address_gets_into_a_label(secret: str, scheme: str) -> None:
    told = release_label(f"{scheme}://key:{secret}x@place/release?token={secret}x#{secret}x")
    assert told == f"{scheme}://place/release"


@pytest.mark.parametrize("out", ["/home/jürgen müller/größe 100%🧠", "s3://bucket/größe", "C:\\ä"])
def test_an_address_and_a_host_with_any_letters_are_counted(out: str) -> None:
    """Ray's own metrics, which take ASCII alone."""
    metrics = RunMetrics(out, wanted=10, already=0)
    metrics.committed(Tally(host="größe", volumes=1, bytes=2, seconds={Stage.DRAW: 1.0}))
    metrics.progressed(1)


@given(st.text())
def test_a_label_is_printable_ascii_and_plain_text_stays_as_it_is(text: str) -> None:
    told = in_ascii(text)
    assert told.isascii()
    assert told.isprintable()
    if text.isascii() and text.isprintable():
        assert told == text
