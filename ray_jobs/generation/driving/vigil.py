"""Which workers hang: those that no longer answer, and those that answer and make nothing.

Pure: the driver tells it the time. Time counts in small steps, so that a driver that was itself
suspended (a laptop's lid) does not take its workers for hung.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LONGEST_STEP_SECONDS = 5.0
TIMES_THE_SLOWEST = 10


@dataclass(kw_only=True)
class _Seen:
    """Of one worker: when it was asked what it has not answered, and when it last got on."""

    asked: float | None = None
    alive: bool = False
    busy: bool = False
    got_on: float = 0.0
    stored: dict[int, int] = field(default_factory=dict)


class Vigil:
    """Watches over the workers.

    Args:
        patience_seconds: silence, from a worker that has answered before, after which it is hung.
            One that answers is hung when nothing of its shards has been stored for as long, or
            for 10 times the longest that anything has taken in this run where that is more.
            Until something has been stored, nobody knows how slow the model is, and only silence
            counts.
        waiting_seconds: what a worker may in addition wait for its storage.
    """

    def __init__(self, patience_seconds: float, *, waiting_seconds: float = 0.0) -> None:
        self.patience_seconds, self.waiting_seconds = patience_seconds, waiting_seconds
        self.slowest = 0.0  # between two volumes, or groups of volumes, of one worker
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
            self.slowest = max(self.slowest, self._time - seen.got_on)
        if more or not seen.busy or stored.keys() != seen.stored.keys():
            seen.got_on = self._time
        seen.stored, seen.busy = dict(stored), bool(stored)

    def committed(self, seconds: float) -> None:
        """A shard took so long. It tells where shards are too quick to be seen at work."""
        self.slowest = self.slowest or seconds

    def forget(self, worker: int) -> None:
        """The worker is gone."""
        self._workers.pop(worker, None)

    def hung(self) -> dict[int, str]:
        """The workers that hang, and why one thinks so."""
        return {w: why for w, seen in self._workers.items() if (why := self._why(seen))}

    @property
    def longest_seconds(self) -> float | None:
        """How long a worker that answers may store nothing; None before that is known."""
        if not self.slowest:
            return None
        usual = max(self.patience_seconds, TIMES_THE_SLOWEST * self.slowest)
        return usual + self.waiting_seconds

    def _why(self, seen: _Seen) -> str:
        if seen.asked is not None and seen.alive:
            silent = self._time - seen.asked
            return f"worker hung (no answer for {silent:.0f} s)" * (silent > self.patience_seconds)
        longest, idle = self.longest_seconds, self._time - seen.got_on
        if seen.busy and longest is not None and idle > longest:
            return f"worker hung (it answers, and has stored nothing for {idle:.0f} s)"
        return ""

    def _of(self, worker: int) -> _Seen:
        return self._workers.setdefault(worker, _Seen(got_on=self._time))
