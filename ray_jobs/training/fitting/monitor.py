"""Between a fit's driver and its workers: what they tell, and the driver's wish to stop.

An actor on the driver's machine holds both, so that neither side waits for the other and the
run's record is written in one place.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ldm.training.loop import LOADS
from ray_jobs.training.fitting.last_words import Where
from ray_jobs.training.fitting.pulse import BEAT_SECONDS

Told = dict[str, Any]

# Seconds between two messages of worker 0.
TELL_EVERY = 1.0
# After so long without one a worker gives no sign of life.
SILENT_SECONDS = 4 * BEAT_SECONDS
# Ray Train takes about a report in so many seconds; more waiting reports are too many.
TAKES_SECONDS, MOST_WAITING = 2.0, 3
NOTHING, LOOK, SAVE, STOP = range(4)  # what a worker is to do after a step; the largest wins


class Sign(NamedTuple):
    """A worker's last sign of life, heard at `heard`."""

    rank: int
    step: int
    what: str
    waited: float
    heard: float

    def told(self) -> dict[str, Any]:
        """For the log, where clocks mean nothing."""
        return {"rank": self.rank, "step": self.step, "what": self.what, "waited": self.waited}


def suspected(signs: list[Sign], now: float) -> list[Sign]:
    """Those for whom the others wait: who gives no sign, else who has no samples, else all who
    are behind or compute."""
    silent = [sign for sign in signs if now - sign.heard > SILENT_SECONDS]
    if silent:
        return [s._replace(what="gives no sign", waited=now - s.heard) for s in silent]
    loading = [sign for sign in signs if sign.what == LOADS]
    behind = [sign for sign in signs if sign.step == min(other.step for other in signs)]
    return loading or behind


class Monitor:
    """Keeps what was told until the driver takes it."""

    def __init__(self) -> None:
        self._told: list[Told] = []
        self._stop = False
        self._signs: dict[int, Sign] = {}
        self._logs: dict[int, Where] = {}

    def enlist(self, rank: int, log: Where) -> None:
        """A worker of a new group begins; where its log is."""
        self._logs[rank] = log

    def beat(self, rank: int, step: int, what: str, waited: float) -> None:
        """A worker lives: since when it is at its step, in seconds, and what it does there."""
        self._signs[rank] = Sign(rank, step, what, waited, time.monotonic())

    def hung(self, rank: int, step: int, what: str, waited: float) -> None:
        """A worker ends itself, for it came no further; told once of a group of workers."""
        self.beat(rank, step, what, waited)
        suspects = suspected(list(self._signs.values()), time.monotonic())
        self._told.append({"hung": [sign.told() for sign in suspects]})
        self._signs = {}

    def failed(self, errors: dict[int, str], why: dict[int, str]) -> None:
        """Workers failed: their errors in full, and why in a line."""
        self._told.append({"failed": why, "errors": errors, "logs": self._logs})
        self._logs = {}

    def tell(self, told: list[Told]) -> bool:
        """Add to it; answers whether the run is to stop."""
        self._told += told
        return self._stop

    def ask_to_stop(self) -> None:
        self._stop = True

    def take(self) -> list[Told]:
        """What was told since the last time."""
        told, self._told = self._told, []
        return told


def start() -> Any:
    """A monitor of this driver's, on its machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Monitor).options(num_cpus=0, scheduling_strategy=here).remote()


class Line:
    """A worker's end: tells now and then, never waits, and hears the driver's wish.

    Args:
        monitor: the actor.
        save_seconds: after so long without a checkpoint the wish is for one.
    """

    def __init__(self, monitor: Any, save_seconds: float) -> None:
        self._monitor, self._save_seconds = monitor, save_seconds
        self._held: list[Told] = []
        self._asked: Any = None
        self._next = 0.0
        self._saved = time.monotonic()
        self._waiting = 0.0  # reports that Ray Train has not taken yet, about
        self._stop = False

    def tell(self, told: Told) -> None:
        """Tell it with the next message; `at` is this machine's clock in seconds."""
        self._held.append({**told, "at": time.monotonic()})

    def wish(self) -> int:
        """What is to be done after this step; sends what is held when it is time."""
        import ray

        now = time.monotonic()
        if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
            self._stop = self._stop or ray.get(self._asked)
            self._asked = None
        due = now >= self._next
        if due and self._asked is None:
            self._next = now + TELL_EVERY
            self._asked = self._monitor.tell.remote(self._held)
            self._held = []
        if self._stop:
            return STOP
        if now - self._saved >= self._save_seconds:
            return SAVE
        return LOOK if due else NOTHING

    @property
    def calm(self) -> bool:
        """Whether Ray Train keeps up with the checkpoints."""
        return self._left() < MOST_WAITING

    def saved(self) -> None:
        """A checkpoint was saved just now."""
        self._waiting = self._left() + 1
        self._saved = time.monotonic()

    def _left(self) -> float:
        gone = (time.monotonic() - self._saved) / TAKES_SECONDS
        return max(0.0, self._waiting - gone)

    def close(self) -> None:
        """Send what is left, and wait until it is there."""
        import ray

        ray.get(self._monitor.tell.remote(self._held))
        self._held = []


def callback(monitor: Any) -> Any:
    """Ray Train's callback that tells the monitor why workers failed."""
    from ray.train import UserCallback

    from ray_jobs import cluster

    class Failures(UserCallback):
        def after_exception(
            self, run_context: Any, worker_exceptions: Mapping[int, Exception]
        ) -> None:
            errors = {rank: str(error) for rank, error in worker_exceptions.items()}
            why = {rank: cluster.cause(error) for rank, error in worker_exceptions.items()}
            monitor.failed.remote(errors, why)

    return Failures()
