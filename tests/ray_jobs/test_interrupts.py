"""Signals: how long a run may go on after them, and the exit code that it ends with."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from ray_jobs import interrupts as module
from ray_jobs.errors import JobError
from ray_jobs.interrupts import Interrupts, usual_grace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the monotonic clock."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 100.0 + seconds)


def test_after_ctrl_c_shards_in_hand_have_all_time_and_a_second_one_ends_at_once() -> None:
    interrupts = Interrupts(grace_seconds=0.0)
    with interrupts.caught(), interrupts.watched():
        os.kill(os.getpid(), signal.SIGINT)
        assert (interrupts.finish, interrupts.over, interrupts.seconds_left) == (True, False, None)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.over
    assert (interrupts.exit_code, interrupts.name) == (130, "Ctrl-C")


def test_after_sigterm_they_have_the_grace_less_what_keeping_takes(
    clock: Callable[[float], None],
) -> None:
    interrupts = Interrupts(grace_seconds=100.0)
    with interrupts.caught(), interrupts.watched():
        os.kill(os.getpid(), signal.SIGTERM)
        assert (interrupts.finish, interrupts.seconds_left) == (True, 90.0)
        clock(89.0)
        assert not interrupts.over
        clock(90.0)
        assert interrupts.over
    assert interrupts.keeping_seconds == 10.0
    assert (interrupts.exit_code, interrupts.name) == (143, "SIGTERM")


def test_the_grace_of_ray_job_stop_is_for_keeping_alone() -> None:
    interrupts = Interrupts(usual_grace({}))
    with interrupts.caught(), interrupts.watched():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.over
    assert interrupts.keeping_seconds == 2.0
    assert usual_grace({"RAY_JOB_STOP_WAIT_TIME_S": "soon"}) == 2.0


def test_where_nobody_looks_a_signal_ends_the_run_with_its_code() -> None:
    with (
        Interrupts().caught(),
        pytest.raises(JobError, match="stopped by SIGTERM; run the same command") as caught,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143
