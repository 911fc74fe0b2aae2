"""Covariates, draws, writer threads and the bar, each without Ray and without a network."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ldm.covariates import PAPER_SCHEMA, Row
from ldm.covariates.distribution import CohortDistribution
from ldm.errors import LdmError
from ldm.volumes.quality import Quality
from ray_jobs.errors import JobError
from ray_jobs.generation.covariates import CovariateSource, covariate_source
from ray_jobs.generation.press import Draw, draw_batch
from ray_jobs.generation.progress import Progress
from ray_jobs.generation.writers import Writers


@pytest.fixture(scope="module")
def distribution() -> CohortDistribution:
    rng = np.random.default_rng(0)
    age = rng.uniform(45, 80, 200)
    columns = {
        "sex": rng.choice(["F", "M"], 200),
        "age": age,
        "ventricular_volume": 10_000 + 800 * (age - 45) + rng.normal(0, 2_000, 200),
        "brain_volume": 1_600_000 - 3_000 * age + rng.normal(0, 40_000, 200),
    }
    return CohortDistribution.fit(PAPER_SCHEMA, columns)


def source(
    distribution: CohortDistribution, option: str = "cohort", *fix: str, n: int = 4
) -> CovariateSource:
    return covariate_source(option, fix, n=n, schema=PAPER_SCHEMA, distribution=distribution)


# ------------------------------------------------------------------------------------ covariates


@pytest.mark.parametrize("option", ["cohort", "uniform"])
def test_covariates_are_a_function_of_seed_and_index_alone(
    distribution: CohortDistribution, option: str
) -> None:
    here = source(distribution, option)
    forwards = [here.draw(3, index) for index in range(6)]
    assert [here.draw(3, index) for index in reversed(range(6))] == forwards[::-1]
    assert len({row["age"] for row in forwards}) == 6
    assert here.draw(4, 0) != forwards[0]


def test_a_fixed_covariate_is_held_and_the_others_still_vary(
    distribution: CohortDistribution,
) -> None:
    rows = [source(distribution, "cohort", "age=70", "sex=F").draw(0, i) for i in range(8)]
    assert {(row["age"], row["sex"]) for row in rows} == {(70.0, "F")}
    assert len({row["brain_volume"] for row in rows}) == 8


def test_a_table_gives_its_rows_and_the_rest_is_drawn(
    distribution: CohortDistribution, tmp_path: Path
) -> None:
    table = tmp_path / "asked.csv"
    table.write_text("note,age,sex\na,61,F\nb,72.5,M\n")
    here = source(distribution, str(table), n=2)
    rows = [here.draw(0, index) for index in range(4)]
    assert [(row["age"], row["sex"]) for row in rows] == [
        (61.0, "F"),
        (72.5, "M"),
        (72.5, "M"),  # past its end, where a full batch is made and dropped
        (72.5, "M"),
    ]
    assert set(rows[0]) == set(PAPER_SCHEMA.names)


def test_the_identity_of_a_table_is_its_content_not_its_name(
    distribution: CohortDistribution, tmp_path: Path
) -> None:
    texts = {"a.csv": "age\n60\n70\n", "b.csv": "age\n60\n70\n", "c.csv": "age\n60\n71\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    a, b, c = (source(distribution, str(tmp_path / name), n=1).identity for name in texts)
    assert a == b != c
    assert source(distribution, "uniform").identity == "uniform"


def test_more_samples_than_a_table_has_rows_are_refused(
    distribution: CohortDistribution, tmp_path: Path
) -> None:
    table = tmp_path / "asked.tsv"
    table.write_text("age\tsex\n61\tF\n")
    with pytest.raises(JobError, match="has 1 rows, one for each sample; give --n 1"):
        source(distribution, str(table), n=2)


def test_an_unknown_source_or_fix_is_refused(distribution: CohortDistribution) -> None:
    with pytest.raises(JobError, match="--covariates kohort: expected cohort, uniform"):
        source(distribution, "kohort")
    with pytest.raises(LdmError, match="did you mean age"):
        source(distribution, "cohort", "agee=70")
    with pytest.raises(LdmError, match="age is 'old'"):
        source(distribution, "cohort", "age=old")


# ----------------------------------------------------------------------------------------- draws


class Numbers:
    """Stands in for a model: a volume holds nothing but its own noise key."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[int, ...]]] = []

    def generate(
        self,
        covariates: list[Row],
        noise_keys: list[tuple[int, ...]],
        *,
        steps: int,
        sampler: str,
        eta: float,
        guidance: float,
    ) -> np.ndarray:
        self.calls.append(list(noise_keys))
        return np.array([np.full((2, 2, 2), 1000 * k[2] + k[1]) for k in noise_keys], np.uint16)


def draw(model: Numbers, bad: dict[int, int], wanted: Sequence[int]) -> list[Draw]:
    """Draw the batch 4..7; sample `index` fails the check on its first `bad[index]` attempts."""

    def check(levels: np.ndarray, asked: Row) -> Quality:
        attempt, index = divmod(int(levels[0, 0, 0]), 1000)
        failed = attempt < bad.get(index, 0)
        return Quality(figures={}, error="empty" if failed else None)

    return list(
        draw_batch(
            model,
            check,
            [{"age": float(index)} for index in range(4, 8)],
            batch=range(4, 8),
            wanted=wanted,
            seed=9,
            steps=2,
            sampler="ddim",
            attempts=3,
        )
    )


def test_a_batch_without_failures_runs_once() -> None:
    model = Numbers()
    draws = draw(model, {}, wanted=range(4, 8))
    assert model.calls == [[(9, 4, 0), (9, 5, 0), (9, 6, 0), (9, 7, 0)]]
    assert [(d.index, d.attempt, d.covariates["age"]) for d in draws] == [
        (4, 0, 4.0),
        (5, 0, 5.0),
        (6, 0, 6.0),
        (7, 0, 7.0),
    ]


def test_a_failed_sample_is_drawn_again_in_a_full_batch_and_only_it_is_taken() -> None:
    model = Numbers()
    draws = draw(model, {5: 1}, wanted=range(4, 8))
    assert [len(call) for call in model.calls] == [4, 4]
    assert {key[2] for key in model.calls[1]} == {1}
    found = {d.index: (d.attempt, int(d.levels[0, 0, 0])) for d in draws if d.levels is not None}
    assert found == {4: (0, 4), 5: (1, 1005), 6: (0, 6), 7: (0, 7)}


def test_a_sample_that_fails_every_attempt_comes_back_without_a_volume() -> None:
    draws = {d.index: d for d in draw(Numbers(), {6: 9}, wanted=range(4, 8))}
    assert draws[6].levels is None
    assert (draws[6].attempt, draws[6].quality.error) == (2, "empty")
    assert all(draws[index].levels is not None for index in (4, 5, 7))


def test_what_lies_past_the_end_is_made_dropped_and_never_drawn_again() -> None:
    model = Numbers()
    draws = draw(model, {7: 9}, wanted=[4, 5])
    assert [d.index for d in draws] == [4, 5]
    assert [len(call) for call in model.calls] == [4]


# --------------------------------------------------------------------------------------- writers


def test_submitting_waits_where_the_store_cannot_keep_up() -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def job() -> None:
        begun.release()
        gate.wait(10)

    with Writers[None](threads=1, waiting=1) as writers:
        futures = [writers.submit(job), writers.submit(job)]
        third = threading.Thread(target=lambda: futures.append(writers.submit(job)))
        third.start()
        begun.acquire(timeout=10)
        time.sleep(0.1)
        assert len(futures) == 2, "a third job was taken in beyond the bound"
        gate.set()
        third.join(10)
        assert len(futures) == 3


def test_an_error_in_a_writer_is_kept_for_who_asks_and_frees_its_place() -> None:
    def fail() -> int:
        raise OSError("disk full")

    with Writers[int](threads=1, waiting=0) as writers:
        first = writers.submit(fail)
        second = writers.submit(lambda: 7)
    with pytest.raises(OSError, match="disk full"):
        first.result()
    assert second.result() == 7


# -------------------------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_bar_tells_what_is_done_how_fast_and_how_long_it_takes() -> None:
    clock = Clock()
    bar = Progress(total=100, already=20, stream=io.StringIO(), clock=clock)
    clock.now = 16.0
    bar.update(done=40, workers=2)
    text = bar.text(40, 2, 2.5)
    assert "60/100  60 %  2.5 volumes/s  16 s left  2 workers" in text


def test_away_from_a_terminal_a_line_comes_only_now_and_then() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progress(total=1000, stream=stream, clock=clock)
    for second in range(31):
        clock.now = float(second)
        bar.update(done=10 * second, workers=1)
    bar.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "150/1000" in lines[0]
    assert "10.0 volumes/s" in lines[0]
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ  150/1000  15 %", lines[0])
    assert "".join(lines).isprintable(), "a control code in a log file"


def test_a_log_of_days_gets_a_line_a_minute() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progress(total=10**6, stream=stream, clock=clock)
    for second in range(0, 3 * 3600, 5):
        clock.now = float(second)
        bar.update(done=second, workers=1)
    assert 180 < len(stream.getvalue().splitlines()) < 205


def test_on_a_terminal_the_bar_never_wraps_and_lines_stand_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    clock, stream = Clock(), Terminal()
    bar = Progress(total=100, stream=stream, clock=clock)
    clock.now = 10.0
    bar.update(done=50, workers=2)
    bar.say("shard 3, attempt 2 of 3: worker lost")
    bar.close()
    shown = stream.getvalue().split("\r")
    assert max(len(text.rstrip("\n")) for text in shown) < 40
    assert "shard 3, attempt 2 of 3: worker lost\n" in shown
    assert stream.getvalue().endswith("\n")
