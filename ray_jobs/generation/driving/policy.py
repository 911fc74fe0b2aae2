"""What the press does next: events in, decisions out; knows nothing of Ray, clocks or storage.

The driver tells a `Policy` what happened (a worker is ready, a shard is committed, a worker died,
somebody asked to stop) and obeys the decisions that come back, in their order. Workers are plain
numbers that are never used twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

# ---------------------------------------------------------------------------------------- events


@dataclass(frozen=True, kw_only=True)
class WorkerReady:
    """A started worker has loaded its model and can take a shard."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class ShardCommitted:
    """A worker's shard is in the store, its part written."""

    worker: int
    shard: int


@dataclass(frozen=True, kw_only=True)
class ShardFailed:
    """A worker raised an error over a shard and is still alive.

    `storage` where the storage was away, full or closed for as long as the worker waited: the
    shard is not to blame. `fatal` where every other shard would end the same way (nothing that
    the model draws passes its check).
    """

    worker: int
    shard: int
    reason: str
    storage: bool = False
    fatal: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerDied:
    """A worker's process is gone, or given up as hung, before or after it became ready.

    `fatal` where any other worker would end the same way (its model cannot be loaded).
    """

    worker: int
    reason: str
    fatal: bool = False


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    """Somebody asked for an end: shards in hand are finished, no other is begun."""


Event = WorkerReady | ShardCommitted | ShardFailed | WorkerDied | StopAsked

# ------------------------------------------------------------------------------------- decisions


@dataclass(frozen=True, kw_only=True)
class Start:
    """Start a worker of this number."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Give the worker this shard."""

    worker: int
    shard: int


@dataclass(frozen=True, kw_only=True)
class Retire:
    """End this worker; it has no shard in hand."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class Retry:
    """The shard will be tried again, on another worker or on a replacement (for the log)."""

    shard: int
    attempt: int
    of: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """The shard failed too often; the release stays incomplete."""

    shard: int
    attempts: int
    reason: str


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"  # every shard committed
    INCOMPLETE = "incomplete"  # some shards given up
    STOPPED = "stopped"  # somebody asked
    STUCK = "stuck"  # nothing but failures


@dataclass(frozen=True, kw_only=True)
class End:
    """Nothing is left to do; always the last decision of a run."""

    outcome: Outcome
    reason: str = ""


Decision = Start | Submit | Retire | Retry | GiveUp | End

# ---------------------------------------------------------------------------------------- policy


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The policy's knobs.

    Attributes:
        workers: how many to keep, at most one for each shard to do.
        in_hand: shards a worker holds at once; with 2 it draws the next while the last one's
            volumes are still on their way to the store.
        max_attempts: tries of one shard before it is given up.
        max_failures_in_a_row: deaths and errors of workers with no shard committed between them,
            after which the run is stuck and ends. (Of the storage's failures: as many as workers.)
    """

    workers: int
    in_hand: int = 1
    max_attempts: int = 3
    max_failures_in_a_row: int = 8

    def __post_init__(self) -> None:
        for name in ("workers", "in_hand", "max_attempts", "max_failures_in_a_row"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least 1")


class Policy:
    """Hands out shards, in order, and decides on failures.

    A worker that raised or died is replaced, because a process whose accelerator or memory failed
    once cannot be trusted. Of the shards it held only the oldest was being worked on and counts
    an attempt; the others go back to the front of the queue unharmed. Nor does a shard count one
    where the storage failed; once it has failed every worker, with no commit between, the run ends.

    Events may come late, twice, or from workers long replaced: what is committed stays committed,
    and is neither handed out again nor given up.
    """

    def __init__(self, shards: Iterable[int], config: PolicyConfig) -> None:
        self.config = config
        self._queue: deque[int] = deque(shards)
        self._wanted = len(self._queue)
        self._held: dict[int, list[int]] = {}  # by each living worker, oldest first
        self._ready: set[int] = set()
        self._attempts: dict[int, int] = {}
        self._next_worker = 0
        self._failures_in_a_row = 0
        self._storage_failures_in_a_row = 0
        self._stopping = False
        self._ended = False
        self.committed: set[int] = set()
        self.given_up: dict[int, str] = {}

    def begin(self) -> list[Decision]:
        """The first decisions: the workers to start, or the end where there is nothing to do."""
        return self._fill()

    def on(self, event: Event) -> list[Decision]:
        """Take in one event; the decisions it leads to. After `End` every event is ignored."""
        if self._ended:
            return []
        match event:
            case WorkerReady(worker=worker):
                if worker in self._held:
                    self._ready.add(worker)
                return self._fill()
            case ShardCommitted(worker=worker, shard=shard):
                if shard in self._held.get(worker, []):
                    self._held[worker].remove(shard)
                elif shard in self._queue:  # committed just before its worker was given up
                    self._queue.remove(shard)
                if shard not in self.committed:
                    self.committed.add(shard)
                    self.given_up.pop(shard, None)
                    self._failures_in_a_row = self._storage_failures_in_a_row = 0
                return self._fill()
            case ShardFailed(
                worker=worker, shard=shard, reason=reason, storage=storage, fatal=fatal
            ):
                if shard not in self._held.get(worker, []):
                    return []
                held = self._forget(worker)
                retire = Retire(worker=worker)
                if fatal:
                    return [retire, *self._stuck(reason)]
                if storage:
                    return [retire, *self._storage_failed(held, reason)]
                held.remove(shard)
                return [retire, *self._failed(shard, held, reason)]
            case WorkerDied(worker=worker, reason=reason, fatal=fatal):
                if worker not in self._held:
                    return []
                held = self._forget(worker)
                if fatal:
                    return self._stuck(reason)
                guilty = held.pop(0) if held else None
                return self._failed(guilty, held, reason)
            case StopAsked():
                self._stopping = True
                return self._fill()

    def _forget(self, worker: int) -> list[int]:
        self._ready.discard(worker)
        return self._held.pop(worker)

    def _failed(self, shard: int | None, unharmed: list[int], reason: str) -> list[Decision]:
        decisions: list[Decision] = []
        self._failures_in_a_row += 1
        self._put_back(unharmed)
        if shard is not None and shard not in self.committed:
            attempt = self._attempts[shard] = self._attempts.get(shard, 0) + 1
            if attempt >= self.config.max_attempts:
                self.given_up[shard] = reason
                decisions.append(GiveUp(shard=shard, attempts=attempt, reason=reason))
            else:
                self._queue.appendleft(shard)
                of = self.config.max_attempts
                decisions.append(Retry(shard=shard, attempt=attempt + 1, of=of, reason=reason))
        if self._failures_in_a_row >= self.config.max_failures_in_a_row:
            why = f"{self._failures_in_a_row} failures in a row, the last: {reason}"
            return [*decisions, *self._stuck(why)]
        return [*decisions, *self._fill()]

    def _storage_failed(self, held: list[int], reason: str) -> list[Decision]:
        self._storage_failures_in_a_row += 1
        self._put_back(held)
        if self._storage_failures_in_a_row >= self.config.workers:
            return self._stuck(reason)
        return self._fill()

    def _put_back(self, shards: list[int]) -> None:
        self._queue.extendleft(s for s in reversed(shards) if s not in self.committed)

    def _fill(self) -> list[Decision]:
        """Bring the workers up to number, hand out shards, let the idle go, see the end."""
        decisions: list[Decision] = []
        if self._stopping:
            self._queue.clear()
        in_hand = sum(len(held) for held in self._held.values())
        need = min(self.config.workers, in_hand + len(self._queue))
        while len(self._held) < need:
            self._held[self._next_worker] = []
            decisions.append(Start(worker=self._next_worker))
            self._next_worker += 1
        for depth in range(self.config.in_hand):  # one each, before anybody gets a second
            for worker in sorted(self._ready):
                if self._queue and len(self._held[worker]) == depth:
                    shard = self._queue.popleft()
                    self._held[worker].append(shard)
                    decisions.append(Submit(worker=worker, shard=shard))
        if not self._queue:
            idle = [worker for worker, held in self._held.items() if not held]
            for worker in idle:
                self._forget(worker)
                decisions.append(Retire(worker=worker))
            if not self._held:
                self._ended = True
                decisions.append(self._end())
        return decisions

    def _stuck(self, why: str) -> list[Decision]:
        workers = list(self._held)
        for worker in workers:
            self._forget(worker)
        self._ended = True
        retired = [Retire(worker=worker) for worker in workers]
        return [*retired, End(outcome=Outcome.STUCK, reason=why)]

    def _end(self) -> End:
        if len(self.committed) == self._wanted:
            return End(outcome=Outcome.COMPLETE)
        if self._stopping:
            return End(outcome=Outcome.STOPPED)
        return End(outcome=Outcome.INCOMPLETE)
