"""What the press does next: events in, decisions out; knows nothing of Ray, clocks or storage.

The driver tells a `Policy` what happened (a worker is ready, a shard is committed, a worker died,
somebody asked to stop) and obeys the decisions that come back, in their order. Workers are plain
numbers that are never used twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from ray_jobs.generation.driving.blame import Blame
from ray_jobs.generation.driving.events import (
    Decision,
    Draining,
    End,
    Event,
    GiveUp,
    HandBack,
    HandedBack,
    Load,
    Outcome,
    Rest,
    Rested,
    Retire,
    Retry,
    Room,
    ShardCommitted,
    ShardFailed,
    Start,
    StopAsked,
    Submit,
    WorkerDied,
    WorkerPlaced,
    WorkerReady,
)
from ray_jobs.generation.driving.places import Places
from ray_jobs.generation.worker.environment import Place

# At the end a worker of at least two commits takes over from one that has this times fewer: where
# all are alike, two and one are no sign. So often a shard may be taken over.
TAKEN_FROM, TELLING_COMMITS = 1.35, 2
MOST_TAKEN = 2


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The policy's knobs.

    Attributes:
        workers: how many to keep, at most one for each shard to do.
        room: how many the cluster can hold at once; None where it is as many. Those above `workers`
            are used to get past devices that are left out.
        devices: how many the cluster has to work on; a GPU each, or all CPUs of a machine.
        grows: whether `workers` follows the cluster's room.
        in_hand: shards a worker holds at once; with 2 it draws the next while the last one's
            volumes are still on their way to the store.
        max_attempts: tries of one shard before it is given up.
        max_failures: failures of one device in a row after which nothing is expected of it; where
            nothing is of any, the run ends. (Of the storage's failures: as many as workers.)
        max_given_up: shards given up in a row, with no commit between, after which the run ends.
    """

    workers: int
    room: int | None = None
    devices: int = 1
    grows: bool = False
    in_hand: int = 1
    max_attempts: int = 3
    max_failures: int = 6
    max_given_up: int = 8

    def __post_init__(self) -> None:
        for name in ("workers", "in_hand", "max_attempts", "max_failures", "max_given_up"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least 1")


@dataclass(kw_only=True)
class _Worker:
    """One that was started: where it is once that is known, and the shards it holds, oldest first.

    One that is parked was placed on a device that is left out: it holds it, and does nothing.
    """

    place: Place | None = None
    parked: bool = False
    ready: bool = False
    commits: int = 0
    held: list[int] = field(default_factory=list)


class Policy:
    """Hands out shards, in order, and decides on failures.

    A worker that raised or died is replaced, because a process whose accelerator or memory failed
    once cannot be trusted. Failures count by device: one that fails again and again is left out,
    each time for longer. A shard that failed goes to another device, and only where two devices
    fail over it (of one alone: three times) it is given up. Nor is a draw that is not finite
    believed before another device draws the same (see `Blame.doubt`). Of the shards that a lost
    worker held only the oldest was being worked on and counts an attempt; where its whole machine
    went, or its storage failed, none does. Once the storage has failed every worker, with no commit
    between, the run ends.

    At the end, where no shard waits, those of slower workers are handed back half made, and
    finished by workers that have nothing else to do.

    A machine that is about to go gets no other shard; its workers end as they become idle, and
    others are started elsewhere.

    Events may come late, twice, or from workers long replaced: what is committed stays committed,
    and is neither handed out again nor given up.
    """

    def __init__(self, shards: Iterable[int], config: PolicyConfig) -> None:
        self.config = config
        self._queue: deque[int] = deque(shards)
        self._wanted = len(self._queue)
        self._most = config.workers
        self._room = config.room or config.workers
        self._workers: dict[int, _Worker] = {}  # that live
        self._place_of: dict[int, Place] = {}  # of all that ever were
        self._next_worker = 0
        self._places = Places(config.max_failures, there=config.devices)
        self._blame = Blame(self._places, config.max_attempts)
        self._unplaced_in_a_row = 0
        self._given_up_in_a_row = 0
        self._storage_failures_in_a_row = 0
        self._last_reason = ""
        self._leaving: set[str] = set()  # nodes
        self._asked: dict[int, int] = {}  # shard to be handed back -> worker that takes it
        self._taken: dict[int, int] = {}  # shard -> how often it was
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
            case WorkerPlaced(worker=worker, place=place):
                return self._placed(worker, place)
            case WorkerReady(worker=worker):
                if worker in self._workers:
                    self._workers[worker].ready = True
                    self._places.loaded(self._place_of[worker])
                return self._fill()
            case ShardCommitted(worker=worker, shard=shard):
                return self._committed(worker, shard)
            case HandedBack(worker=worker, shard=shard):
                if shard not in (self._workers[worker].held if worker in self._workers else ()):
                    return []
                return self._handed_back(worker, shard)
            case ShardFailed(worker=worker, shard=shard):
                if shard not in (self._workers[worker].held if worker in self._workers else ()):
                    return []
                return self._shard_failed(event)
            case WorkerDied(worker=worker):
                return self._died(event) if worker in self._workers else []
            case Rested(place=place):
                self._places.rested(place)
                return self._fill()
            case Room(workers=workers, devices=devices):
                if self.config.grows:
                    self._most = max(self._most, workers)
                self._room, self._places.there = workers, devices
                return self._fill()
            case Draining(node=node):
                self._leaving.add(node)
                return self._fill()
            case StopAsked():
                self._stopping = True
                return self._fill()

    # ------------------------------------------------------------------------------ workers

    def _placed(self, number: int, place: Place) -> list[Decision]:
        worker = self._workers.get(number)
        if worker is None or worker.place is not None:
            return []
        self._place_of[number] = worker.place = place
        self._unplaced_in_a_row = 0
        if self._leaves(worker):
            return self._fill()
        decisions = self._rest(place, reason) if (reason := self._places.seen(place)) else []
        worker.parked = place in self._places.resting
        if worker.parked:
            return [*decisions, *self._fill()]  # a worker is wanting elsewhere
        return [Load(worker=number)]

    def _forget(self, worker: int) -> list[int]:
        held = self._workers.pop(worker).held
        for shard in held:  # which it does not hand back any more
            self._asked.pop(shard, None)
        return held

    def _leaves(self, worker: _Worker) -> bool:
        """Whether its machine is about to go."""
        return worker.place is not None and worker.place.node in self._leaving

    def _let_leave(self) -> list[Decision]:
        """End the workers of machines about to go that hold nothing."""
        idle = [n for n, w in self._workers.items() if self._leaves(w) and not w.held]
        for number in idle:
            self._forget(number)
        busy = {w.place.node for w in self._workers.values() if w.place is not None}
        for node in self._leaving - busy:
            self._places.gone(node)
        return [Retire(worker=number) for number in idle]

    def _at_work(self) -> set[Place]:
        """The devices of workers that have a model, or will."""
        staying = (w for w in self._workers.values() if not w.parked and not self._leaves(w))
        return {worker.place for worker in staying if worker.place is not None}

    # ------------------------------------------------------------------------------- shards

    def _committed(self, worker: int, shard: int) -> list[Decision]:
        if worker in self._workers and shard in self._workers[worker].held:
            self._workers[worker].held.remove(shard)
            self._workers[worker].commits += 1
        elif shard in self._queue:  # committed just before its worker was given up
            self._queue.remove(shard)
        self._asked.pop(shard, None)
        if shard not in self.committed:
            self.committed.add(shard)
            self.given_up.pop(shard, None)
            self._storage_failures_in_a_row = self._given_up_in_a_row = 0
            self._blame.hope()
            if (place := self._place_of.get(worker)) is not None:
                self._places.worked(place)
        return self._fill()

    def _handed_back(self, number: int, shard: int) -> list[Decision]:
        self._workers[number].held.remove(shard)
        taker = self._asked.pop(shard, None)
        self._taken[shard] = self._taken.get(shard, 0) + 1
        if shard in self.committed:
            return self._fill()
        if taker not in self._workers or self._stopping or self._leaves(self._workers[taker]):
            self._put_back([shard])
            return self._fill()
        return [self._submit(taker, shard), *self._fill()]

    def _shard_failed(self, event: ShardFailed) -> list[Decision]:
        number, shard, reason = event.worker, event.shard, event.reason
        place = self._place_of[number]
        if event.doubts and self._blame.doubt(
            shard,
            event.doubts,
            place,
            number,
            whole=event.whole,
            more_to_come=self._more_to_come(),
        ):
            # Its device is not to blame: the next that takes the shard knows that those draws fail.
            self._workers[number].held.remove(shard)
            self._asked.pop(shard, None)
            self._put_back([shard])
            self._places.forgive(shard)
            self._blame.clear(shard)
            return self._fill()
        held = self._forget(number)
        retire = Retire(worker=number)
        if event.hopeless and self._blame.despair(place):
            return [retire, *self._stuck(reason)]
        if event.storage:
            self._storage_failures_in_a_row += 1
            self._put_back(held)
            if self._storage_failures_in_a_row >= self.config.workers:
                return [retire, *self._stuck(reason)]
            return [retire, *self._device_failed(place, None, reason), *self._fill()]
        held.remove(shard)
        self._put_back(held)
        if event.doubts or event.hopeless:
            self._blame.put_off(shard, place)
            return [retire, *self._again(shard, place, reason)]
        return [retire, *self._failed(shard, place, reason)]

    def _died(self, event: WorkerDied) -> list[Decision]:
        held, place = self._forget(event.worker), self._place_of.get(event.worker)
        blamed = held and not (event.with_its_machine or event.fatal)
        self._put_back(held[1:] if blamed else held)
        if place is None:
            self._unplaced_in_a_row += 1
            if self._unplaced_in_a_row >= 2 * self._most + 4:
                why = f"{self._unplaced_in_a_row} workers in a row did not start, the last: "
                return self._stuck(why + event.reason)
            return self._fill()
        if event.with_its_machine:
            self._places.gone(place.node)
            return [*self._told(held[:1], place, event.reason), *self._fill()]
        if event.fatal:
            condemned = self._places.fatal(place, event.reason)
            rests = [rest for other in condemned for rest in self._rest(other, event.reason)]
            return [*rests, *self._fill()]
        if not held:
            return [*self._device_failed(place, None, event.reason), *self._fill()]
        return self._failed(held[0], place, event.reason)

    def _failed(self, shard: int, place: Place, reason: str) -> list[Decision]:
        """A shard failed on a device, which may be the fault of either."""
        if shard in self.committed:
            return [*self._device_failed(place, None, reason), *self._fill()]
        self._blame.count(shard, place)
        if not self._blame.is_guilty(shard, more_to_come=self._more_to_come()):
            return self._again(shard, place, reason)
        self.given_up[shard] = reason
        self._given_up_in_a_row += 1
        given_up = GiveUp(shard=shard, attempts=self._blame.attempts(shard), reason=reason)
        rest = self._device_failed(place, shard, reason)
        if self._blame.on_two(shard):
            self._places.forgive(shard)
        if self._given_up_in_a_row >= self.config.max_given_up:
            why = f"{self._given_up_in_a_row} shards in a row were given up, the last: {reason}"
            return [given_up, *rest, *self._stuck(why)]
        return [given_up, *rest, *self._fill()]

    def _again(self, shard: int, place: Place, reason: str) -> list[Decision]:
        """Put a shard back that a device failed over."""
        self._put_back([shard])
        told = self._told([shard], place, reason)
        return [*told, *self._device_failed(place, shard, reason), *self._fill()]

    def _told(self, shards: list[int], place: Place, reason: str) -> list[Decision]:
        of = self.config.max_attempts
        return [
            Retry(
                shard=shard,
                attempt=min(self._blame.attempts(shard) + 1, of),
                of=of,
                reason=reason,
                place=place,
            )
            for shard in shards
            if shard not in self.committed
        ]

    def _device_failed(self, place: Place, shard: int | None, reason: str) -> list[Decision]:
        self._places.failed(place, shard)
        return self._rest(place, reason)

    def _rest(self, place: Place, reason: str) -> list[Decision]:
        self._last_reason = reason
        failures = self._places.count(place)
        seconds = self._places.rest_of(place)
        if not seconds:
            return []
        return [Rest(place=place, failures=failures, seconds=seconds, reason=reason)]

    def _put_back(self, shards: list[int]) -> None:
        self._queue.extendleft(s for s in reversed(shards) if s not in self.committed)

    # --------------------------------------------------------------------------- what is next

    def _fill(self) -> list[Decision]:
        """Bring the workers up to number, hand out shards, let the idle go, see the end."""
        decisions: list[Decision] = []
        if self._stopping:
            self._queue.clear()
        decisions += self._let_leave()
        if self._is_hopeless():
            return [*decisions, *self._stuck(self._last_reason)]
        busy = sum(bool(w.held) and not self._leaves(w) for w in self._workers.values())
        need = min(self._most, busy + len(self._queue))
        decisions += self._wake(need)
        while self._active() < need and self._staying() < self._limit:
            self._workers[self._next_worker] = _Worker()
            decisions.append(Start(worker=self._next_worker))
            self._next_worker += 1
        decisions += self._hand_out()
        if not self._queue:
            decisions += [] if self._stopping else self._take_over()
            idle = [n for n, w in self._workers.items() if not (w.held or self._waits(n))]
            for number in idle:
                self._forget(number)
                decisions.append(Retire(worker=number))
            if not self._workers:
                self._ended = True
                decisions.append(self._end())
        return decisions

    def _wake(self, need: int) -> list[Decision]:
        """Have those that waited for their device to rest load their models; rather than to wait
        for another device, which they may be what keeps from others."""
        decisions: list[Decision] = []
        for number, worker in list(self._workers.items()):
            if not worker.parked or worker.place in self._places.resting:
                continue
            waiting = [n for n, other in self._workers.items() if other.place is None]
            if self._active() >= need and not waiting:
                break
            if self._active() >= need:
                self._forget(waiting[-1])
                decisions.append(Retire(worker=waiting[-1]))
            worker.parked = False
            decisions.append(Load(worker=number))
        return decisions

    def _hand_out(self) -> list[Decision]:
        """Shards for those that are ready: one each, before anybody gets a second."""
        decisions: list[Decision] = []
        ready = sorted(n for n, w in self._workers.items() if w.ready and not self._leaves(w))
        for depth in range(self.config.in_hand):
            for number in ready:
                worker = self._workers[number]
                if depth and len(self._queue) < len(ready):
                    continue  # near the end it would wait here, and others soon do nothing
                if len(worker.held) != depth or (shard := self._next_for(worker)) is None:
                    continue
                self._queue.remove(shard)
                decisions.append(self._submit(number, shard))
        return decisions

    def _submit(self, number: int, shard: int) -> Submit:
        self._workers[number].held.append(shard)
        return Submit(worker=number, shard=shard, settled=self._blame.settled(shard))

    def _take_over(self) -> list[Decision]:
        """At the end, have slower workers hand back what those that have nothing left to do would
        finish sooner."""
        decisions: list[Decision] = []
        for number, worker in self._workers.items():
            if worker.held or not worker.ready or self._leaves(worker) or self._waits(number):
                continue
            found = max(self._takeable(worker), default=None)
            if found is not None:
                *_, holder, shard = found
                self._asked[shard] = number
                decisions.append(HandBack(worker=holder, shard=shard))
        return decisions

    def _takeable(self, worker: _Worker) -> Iterator[tuple[int, int, int, int]]:
        """Shards that a worker could take over, with their holders, the best ones greatest."""
        for number, holder in self._workers.items():
            least = max(TELLING_COMMITS, TAKEN_FROM * (holder.commits + 0.5))
            slower = worker.commits >= least
            if not holder.held or not (slower or len(holder.held) > 1):
                continue
            shard = holder.held[-1]
            known = shard in self._asked or self._taken.get(shard, 0) >= MOST_TAKEN
            if not known and worker.place and not self._blame.avoids(shard, worker.place):
                yield len(holder.held), -holder.commits, number, shard

    def _waits(self, number: int) -> bool:
        """Whether a shard is about to be handed back for this worker."""
        return number in self._asked.values()

    def _next_for(self, worker: _Worker) -> int | None:
        """The first shard that has not failed on the worker's device; failing that, the first that
        has failed on every device at work."""
        place, at_work = worker.place, self._at_work()
        assert place is not None
        new = (shard for shard in self._queue if not self._blame.avoids(shard, place))
        stale = (shard for shard in self._queue if self._blame.avoids_all(shard, at_work))
        return next(chain(new, stale), None)

    def _more_to_come(self) -> bool:
        """Whether a device may be had on which nothing was tried yet."""
        waiting = any(worker.place is None for worker in self._workers.values())
        return self._places.unexplored or (waiting and len(self._workers) > self._room)

    @property
    def _limit(self) -> int:
        """How many workers may be started: some may wait for machines to come."""
        return max(self._most, self._room)

    def _active(self) -> int:
        return sum(not w.parked and not self._leaves(w) for w in self._workers.values())

    def _staying(self) -> int:
        return sum(not self._leaves(worker) for worker in self._workers.values())

    def _is_hopeless(self) -> bool:
        """Whether work is left and nothing is expected of any device that there is. Where workers
        still wait for a place, each was tried twice more by then; where somebody else has the
        others, those that can be had six times more."""
        living = self._workers.values()
        parked = [worker.place for worker in living if worker.parked and worker.place is not None]
        waiting = len(living) - len(parked)
        if not self._queue or not parked or any(w.place and not w.parked for w in living):
            return False
        if not waiting and len(living) < self._limit:
            return False  # another may be placed elsewhere
        if self._places.nothing_expected(*self._places.known, more=2 if waiting else 0):
            return True
        return self._places.nothing_expected(*parked, more=6)

    def _stuck(self, why: str) -> list[Decision]:
        workers = list(self._workers)
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
