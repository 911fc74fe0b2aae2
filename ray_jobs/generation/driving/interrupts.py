"""What Ctrl-C and SIGTERM mean to a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray_jobs.errors import JobError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The wishes of whoever watches the run.

    Attributes:
        finish: end after the shards in hand (the first Ctrl-C).
        now: end at once (SIGTERM, or a second Ctrl-C).
        patient: whether the code that runs looks at `finish` and `now`. Where nobody does, a
            signal raises JobError, with exit code 1.
    """

    def __init__(self) -> None:
        self.finish = False
        self.now = False
        self.patient = False

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
        """Within, the caller looks at `finish` and `now` itself."""
        self.patient = True
        try:
            yield
        finally:
            self.patient = False

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.now = self.now or self.finish or number == signal.SIGTERM
        self.finish = True
        if not self.patient:
            raise JobError("stopped; run the same command to go on", exit_code=1)
