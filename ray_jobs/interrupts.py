"""What Ctrl-C and SIGTERM mean to a run, and how long it may go on after them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray_jobs.errors import JobError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# From SIGTERM to SIGKILL at `ray job stop`, unless this variable of the job says otherwise.
JOB_STOP, JOB_STOP_SECONDS = "RAY_JOB_STOP_WAIT_TIME_S", 3.0
TO_LEAVE_SECONDS = 1.0  # of the process itself, once everything is said
# For what is stored of shards in hand to be kept: a tenth of the grace, between these.
LEAST_KEEPING_SECONDS, MOST_KEEPING_SECONDS = 2.0, 20.0


def usual_grace(environment: Mapping[str, str] = os.environ) -> float:
    """The seconds that `ray job stop` leaves a driver, less one to leave in.

    >>> usual_grace({}), usual_grace({"RAY_JOB_STOP_WAIT_TIME_S": "90"})
    (2.0, 89.0)
    """
    try:
        given = float(environment.get(JOB_STOP, JOB_STOP_SECONDS))
    except ValueError:
        given = JOB_STOP_SECONDS
    return max(0.0, given - TO_LEAVE_SECONDS)


class Interrupts:
    """The wishes of whoever watches the run.

    After SIGTERM the shards in hand may be worked on for the grace, less what it takes to keep what
    is stored of them; after Ctrl-C until they are done. A second signal ends that.

    Args:
        grace_seconds: from SIGTERM until the run must have ended.

    Attributes:
        finish: begin no other shard or step (the first signal).
        now: end at once (the second).
        patient: whether the code that runs looks at them. Where nobody does, a
            signal raises JobError, with the exit code.
    """

    def __init__(self, grace_seconds: float = 0.0) -> None:
        self.grace_seconds = grace_seconds
        self.finish = False
        self.now = False
        self.patient = False
        self._first: int | None = None
        self._until: float | None = None  # on the monotonic clock

    @property
    def name(self) -> str:
        """What the run was stopped by."""
        return "Ctrl-C" if self._first == signal.SIGINT else "SIGTERM"

    @property
    def exit_code(self) -> int:
        """Of a run that was stopped and can go on: 128 and the signal, as of a shell."""
        return 128 + (self._first or signal.SIGTERM)

    @property
    def seconds_left(self) -> float | None:
        """For which the shards in hand may be worked on; None without end."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the shards in hand have to be let go."""
        return self.now or self.seconds_left == 0

    @property
    def keeping_seconds(self) -> float:
        """How long it may take to keep what is stored of them."""
        if self._until is None or self.now:
            return LEAST_KEEPING_SECONDS
        return _keeping_seconds(self.grace_seconds)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take over both signals for a while; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[signal.Signals, Any] = {n: signal.getsignal(n) for n in SIGNALS}
        self.take_over()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def take_over(self) -> None:
        """Take both signals again from whoever took them since, as Ray does when it starts."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._on)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, the caller looks at them itself."""
        self.patient = True
        try:
            yield
        finally:
            self.patient = False

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.now = self.now or self.finish
        self.finish = True
        self._first = self._first or number
        if number == signal.SIGTERM and self._until is None:
            working = self.grace_seconds - _keeping_seconds(self.grace_seconds)
            self._until = time.monotonic() + working
        if not self.patient:
            line = f"stopped by {self.name}; run the same command to go on"
            raise JobError(line, exit_code=self.exit_code)


def _keeping_seconds(grace_seconds: float) -> float:
    share = min(MOST_KEEPING_SECONDS, max(LEAST_KEEPING_SECONDS, grace_seconds / 10))
    return min(grace_seconds, share)
