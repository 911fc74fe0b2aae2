"""For whom workers that come no further have waited."""

from __future__ import annotations

import pytest

from ldm.training.loop import COMPUTES, LOADS
from ray_jobs.training.fitting.monitor import Line, Monitor, Sign, suspected
from ray_jobs.training.fitting.sentences import sentence


@pytest.mark.parametrize(
    ("signs", "named"),
    [
        ([Sign(0, 7, COMPUTES, 30, 99), Sign(1, 7, COMPUTES, 30, 60)], [1]),  # silent
        ([Sign(0, 7, COMPUTES, 30, 99), Sign(1, 7, LOADS, 30, 99)], [1]),
        ([Sign(0, 7, COMPUTES, 30, 99), Sign(1, 6, COMPUTES, 31, 99)], [1]),  # a step behind
        ([Sign(0, 7, COMPUTES, 30, 99), Sign(1, 7, COMPUTES, 30, 99)], [0, 1]),  # nobody knows
        ([Sign(0, 7, COMPUTES, 30, 99)], [0]),
    ],
)
def test_the_worker_for_whom_the_others_wait_is_named(signs: list[Sign], named: list[int]) -> None:
    assert [sign.rank for sign in suspected(signs, now=100.0)] == named


def test_a_group_that_hangs_is_told_once_in_words() -> None:
    monitor = Monitor()
    monitor.beat(1, 119, LOADS, 40.0)
    monitor.hung(0, 119, COMPUTES, 61.0)
    (told,) = monitor.take()
    assert sentence(told) == "no worker comes further: worker 1 loads samples at step 120 for 40 s"


def test_checkpoints_that_come_too_fast_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports pile up where a worker does not wait: a stop then took minutes to be seen."""
    now = [100.0]
    monkeypatch.setattr("ray_jobs.training.fitting.monitor.time.monotonic", lambda: now[0])
    line = Line(None, save_seconds=900)
    seen = []
    for _ in range(5):
        seen.append(line.calm)
        line.saved()
        now[0] += 0.1
    assert seen == [True, True, True, True, False]
    now[0] += 5
    assert line.calm
