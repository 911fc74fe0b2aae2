"""A sign of life of every worker, and the end of one that makes no step for too long.

A GPU that hangs, or a worker that waits for one that does, raises nothing: the process ends itself,
Ray Train starts the group again, and the monitor, which heard all of them, knows whom to name.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

BEAT_SECONDS = 2.0
EXIT_CODE = 70
VALIDATES = "validates"


class Pulse:
    """Beats in a thread beside the training.

    Args:
        monitor: the actor that hears it.
        rank: the worker's.
        patience_seconds: for a step, or a validation.
    """

    def __init__(self, monitor: Any, rank: int, patience_seconds: float) -> None:
        self._monitor, self._rank, self._patience = monitor, rank, patience_seconds
        self._step, self._what, self._since = 0, "starts", time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def step(self, number: int) -> None:
        """That step is done."""
        self._step, self._since = number, time.monotonic()

    def doing(self, what: str) -> None:
        """What it begins to do now."""
        self._what = what
        if what == VALIDATES:
            self._since = time.monotonic()

    def end(self) -> None:
        self._ended.set()

    def _beat(self) -> None:
        import ray

        while True:
            waited = time.monotonic() - self._since
            sign = (self._rank, self._step, self._what, waited)
            self._monitor.beat.remote(*sign)
            if waited > self._patience:
                ray.get(self._monitor.hung.remote(*sign), timeout=BEAT_SECONDS)
                os._exit(EXIT_CODE)
            if self._ended.wait(min(BEAT_SECONDS, self._patience / 2)):
                return
