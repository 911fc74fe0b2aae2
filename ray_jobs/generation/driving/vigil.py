"""Which workers hang: those that no longer answer, and those that answer and make nothing.

Pure: the driver tells it the time. Time counts in small steps, so that a driver that was itself
suspended (a laptop's lid) does not take its workers for hung.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ray_jobs.generation.options import Device

LONGEST_STEP_SECONDS = 5.0
TIMES_THE_SLOWEST = 10
# The first volume of a worker takes longer (compiling, choosing kernels), but in no run ten times
# as long as another's first.
TIMES_THE_FIRST = 3
# Before anything is known of a run: a network pass of one volume, on the slowest that we have seen.
PASS_SECONDS = {Device.CPU: 30.0, Device.CUDA: 1.0}
TIMES_THE_PATIENCE = 15


@dataclass(kw_only=True)
class _Seen:
    """Of one worker: when it was asked what it has not answered, and when it last got on."""

    asked: float | None = None
    alive: bool = False
    loading: float | None = None  # since when
    made: int = 0  # volumes stored so far, of all its shards
    busy: bool = False
    got_on: float = 0.0
    stored: dict[int, int] = field(default_factory=dict)


def first_seconds(patience_seconds: float, *, passes: int, device: Device) -> float:
    """How long a first batch may take before anything is known of a run.

    Args:
        passes: of one volume through the network, in a batch.
    """
    return TIMES_THE_PATIENCE * patience_seconds + passes * PASS_SECONDS[device]


class Vigil:
    """Watches over the workers.

    Args:
        patience_seconds: silence, from a worker that has answered before, after which it is hung.
            One that answers is hung when nothing of its shards has been stored for as long, or
            for 10 times the longest that a batch has taken in this run where that is more; before
            its first volume, or where nobody has made a second batch, 3 times the longest that
            a first volume took.
        first_seconds: the same for a first volume, and for loading, of which nobody knows yet how
            long they take.
        batch: volumes that are stored at once, or nearly.
        waiting_seconds: what a worker may in addition wait for its storage.
    """

    def __init__(
        self,
        patience_seconds: float,
        *,
        first_seconds: float,
        batch: int = 1,
        waiting_seconds: float = 0.0,
    ) -> None:
        self.patience_seconds, self.waiting_seconds = patience_seconds, waiting_seconds
        self.first_seconds = first_seconds
        self.slowest = 0.0  # between two volumes, or groups of volumes, of one worker
        self.slowest_first = 0.0  # to a worker's first volume
        self.slowest_load = 0.0
        self.batch, self._measured = batch, False  # whether a second batch was seen
        self._workers: dict[int, _Seen] = {}
        self._time = 0.0
        self._clock: float | None = None

    def tick(self, clock: float) -> None:
        """The driver is awake, and its monotonic clock shows this."""
        if self._clock is not None:
            self._time += min(clock - self._clock, LONGEST_STEP_SECONDS)
        self._clock = clock

    def asked(self, worker: int) -> None:
        """The worker was asked how far it is."""
        self._of(worker).asked = self._time

    def answered(self, worker: int, stored: Mapping[int, int]) -> None:
        """It answered: so many volumes of each shard that it is working on."""
        seen = self._of(worker)
        seen.asked, seen.alive = None, True
        more = any(count > seen.stored.get(shard, 0) for shard, count in stored.items())
        if more and seen.busy:
            took = self._time - seen.got_on
            if seen.made:
                self.slowest = max(self.slowest, took)
            else:
                self.slowest_first = max(self.slowest_first, took)
            seen.made += sum(max(0, n - seen.stored.get(s, 0)) for s, n in stored.items())
            self._measured |= seen.made >= 2 * self.batch
        if more or not seen.busy or stored.keys() != seen.stored.keys():
            seen.got_on = self._time
        seen.stored, seen.busy = dict(stored), bool(stored)

    def committed(self, seconds: float) -> None:
        """A shard took so long. It tells where shards are too quick to be seen at work."""
        self.slowest_first = self.slowest_first or seconds

    def loading(self, worker: int) -> None:
        """The worker was told to load its model."""
        self._of(worker).loading = self._time

    def loaded(self, worker: int) -> None:
        """It has done so."""
        seen = self._of(worker)
        if seen.loading is not None:
            self.slowest_load = max(self.slowest_load, self._time - seen.loading)
        seen.loading = None

    def forget(self, worker: int) -> None:
        """The worker is gone."""
        self._workers.pop(worker, None)

    def hung(self) -> dict[int, str]:
        """The workers that hang, and why one thinks so."""
        return {w: why for w, seen in self._workers.items() if (why := self._why(seen))}

    def _longest(self, seen: _Seen) -> float:
        """How long a worker that answers may store nothing."""
        usual = TIMES_THE_FIRST * self.slowest_first or self.first_seconds
        if seen.made and self._measured:
            usual = TIMES_THE_SLOWEST * self.slowest
        return max(self.patience_seconds, usual) + self.waiting_seconds

    def _longest_load(self) -> float:
        usual = TIMES_THE_SLOWEST * self.slowest_load or self.first_seconds
        return max(self.patience_seconds, usual) + self.waiting_seconds

    def _why(self, seen: _Seen) -> str:
        silent = self._time - seen.asked if seen.asked is not None and seen.alive else 0.0
        if silent > self.patience_seconds:
            return f"worker hung (no answer for {silent:.0f} s)"
        if seen.loading is not None:
            loads = self._time - seen.loading
            hangs = loads > self._longest_load()
            return f"worker hung (loading its model for {loads:.0f} s)" * hangs
        idle = self._time - seen.got_on
        if seen.busy and idle > self._longest(seen):
            return f"worker hung (it answers, and has stored nothing for {idle:.0f} s)"
        return ""

    def _of(self, worker: int) -> _Seen:
        return self._workers.setdefault(worker, _Seen(got_on=self._time))
