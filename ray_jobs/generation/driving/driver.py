"""The loop with Ray in it: tells the policy what happens and does what the policy decides."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from manifests.errors import StorageError
from manifests.numbers import counted, human_seconds
from ray_jobs.generation.driving.actors import (
    PATIENCE_SECONDS,
    draining,
    in_one_line,
    room_for,
    start_worker,
    went_with_its_machine,
)
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
from ray_jobs.generation.driving.metrics import RunMetrics
from ray_jobs.generation.driving.policy import Policy
from ray_jobs.generation.driving.shared_folder import SharedFolder
from ray_jobs.generation.driving.vigil import Vigil
from ray_jobs.generation.options import Kind
from ray_jobs.generation.worker.assignment import Assignment, ShardReport
from ray_jobs.generation.worker.doubts import DoubtfulError
from ray_jobs.generation.worker.environment import Place
from ray_jobs.generation.worker.rejected import NothingPassedError
from ray_jobs.interrupts import Interrupts
from ray_jobs.progress import Progress
from ray_jobs.reach import Reached

POLL_SECONDS = 0.5
WATCH_SECONDS = 1.0
ROOM_SECONDS = 10.0  # between two looks at how large the cluster is
# Before a machine is gone, what is stored of its shards in hand is kept.
BEFORE_IT_GOES_SECONDS = 5.0


class Driver:
    """Runs a policy to its end on Ray actors.

    Args:
        policy: what to do next.
        assignment: given to every worker.
        reserve: what an actor reserves of the cluster.
        environment: variables that workers need; never shown.
        progress: the bar.
        interrupts: the wishes of whoever watches.
        vigil: finds the workers that hang.
        kind: that the plan was begun on; None where it does not tell.
        folder: of the release, where machines must share one.
    """

    def __init__(
        self,
        policy: Policy,
        assignment: Assignment,
        *,
        reserve: Mapping[str, Any],
        environment: Mapping[str, str],
        progress: Progress,
        interrupts: Interrupts,
        vigil: Vigil,
        kind: Kind | None = None,
        folder: SharedFolder | None = None,
    ) -> None:
        self.policy, self.assignment = policy, assignment
        self.progress, self.interrupts, self.vigil = progress, interrupts, vigil
        self.metrics = RunMetrics(assignment.out, wanted=progress.total, already=progress.already)
        self._reserve, self._environment, self._folder = reserve, environment, folder
        self._actors: dict[int, Any] = {}
        self._placing: dict[Any, int] = {}
        self._loading: dict[Any, int] = {}
        self._printing: dict[Any, tuple[int, int]] = {}
        self._watching: dict[Any, int] = {}
        self._asking: dict[Any, int] = {}  # of what kind they are
        self._begun_on, self._kinds = kind, {str(kind)}
        self._ready: set[int] = set()
        self._partial: dict[int, int] = {}  # worker -> volumes stored of its shards in hand
        self._places: dict[int, Place] = {}
        self._resting: dict[Place, float] = {}  # until when
        self._next_watch = self._next_look = 0.0
        self._patient_until = time.monotonic() + PATIENCE_SECONDS
        self._leaving: dict[str, float] = {}  # node -> when it goes, on the monotonic clock
        self._end: End | None = None
        self.kept: dict[int, int] = {}  # shard -> samples, of those that were not finished
        self.reports: dict[int, ShardReport] = {}

    def run(self) -> End:
        """Print until the policy says it is over, or until whoever stops it waits no longer."""
        told = False
        try:
            with self.interrupts.watched():
                self._obey(self.policy.begin())
                while self._end is None:
                    if self.interrupts.finish and not told:
                        told = True
                        self.progress.say(self._stopping())
                        self._obey(self.policy.on(StopAsked()))
                        continue
                    if self.interrupts.over:
                        self._keep(set(self._actors), self.interrupts.keeping_seconds)
                        return End(outcome=Outcome.STOPPED)
                    self._turn()
                return self._end
        finally:
            self.metrics.ready(len(self._ready), time.monotonic())
            self.metrics.progressed(self._done())
            self.progress.update(self._done())
            for worker in list(self._actors):
                self._drop(worker)
            if self._folder is not None:
                self._folder.close()

    def _turn(self) -> None:
        """Wait a little; take in whatever came."""
        asked = (self._placing, self._loading, self._printing, self._watching, self._asking)
        waiting = [ref for refs in asked for ref in refs]
        came, _ = ray.wait(waiting, num_returns=1, timeout=POLL_SECONDS)
        for ref in came:
            event = self._event(ref)
            if event is not None:
                if isinstance(event, WorkerDied | ShardFailed):
                    self.metrics.lost_worker(self._places.get(event.worker))
                self._obey(self.policy.on(event))
        now = time.monotonic()
        self.metrics.ready(len(self._ready), now)
        self.vigil.tick(now)
        if now >= self._patient_until:
            self._patient_until = math.inf
            self.progress.say("waiting for the cluster to start a worker ...")
        for place in [place for place, until in self._resting.items() if now >= until]:
            del self._resting[place]
            self._obey(self.policy.on(Rested(place=place)))
        if now >= self._next_look:
            self._next_look = now + ROOM_SECONDS
            without = {*self._leaving, *(self._folder.left_out if self._folder else ())}
            workers, devices = room_for(self._reserve, without=without)
            self._obey(self.policy.on(Room(workers=workers, devices=devices)))
        if now >= self._next_watch:
            self._next_watch = now + WATCH_SECONDS
            self._watch()
            self._see_off(now)
            for worker, reason in self.vigil.hung().items():
                self.metrics.lost_worker(self._places.get(worker))
                self._drop(worker)
                self._obey(self.policy.on(WorkerDied(worker=worker, reason=reason)))
            self.progress.update(self._done(), len(self._ready))
            self.metrics.progressed(self._done())

    def _event(self, ref: Any) -> Event | None:
        """What the answer at `ref` means."""
        if ref in self._placing:
            worker = self._placing.pop(ref)
            try:
                answer = ray.get(ref)
            except RayError as error:
                return self._lost(worker, error)
            self._patient_until = math.inf
            if isinstance(answer, Reached):
                return self._reached(worker, answer)
            self._places[worker] = answer
            if self._folder is not None:
                reaching = self._actors[worker].reach.options(concurrency_group="work").remote()
                self._placing[reaching] = worker
                return None
            return WorkerPlaced(worker=worker, place=answer)
        if ref in self._loading:
            worker = self._loading.pop(ref)
            try:
                refusal = ray.get(ref)
            except RayError as error:
                return self._lost(worker, error)
            if refusal is not None:
                self._drop(worker)
                return WorkerDied(worker=worker, reason=refusal, fatal=True)
            self._ready.add(worker)
            if self.assignment.tells_kind:
                asking = self._actors[worker].kind.options(concurrency_group="watch").remote()
                self._asking[asking] = worker
            self.vigil.loaded(worker)
            return WorkerReady(worker=worker)
        if ref in self._printing:
            worker, shard = self._printing.pop(ref)
            try:
                report: ShardReport = ray.get(ref)
            except RayTaskError as error:
                doubted = error.cause
                return ShardFailed(
                    worker=worker,
                    shard=shard,
                    reason=in_one_line(error),
                    storage=isinstance(error.cause, StorageError),
                    hopeless=isinstance(error.cause, NothingPassedError),
                    doubts=doubted.draws if isinstance(doubted, DoubtfulError) else frozenset(),
                    whole=isinstance(doubted, DoubtfulError) and doubted.whole,
                )
            except RayError as error:
                return self._lost(worker, error)
            self._partial.pop(worker, None)
            self.metrics.committed(report.tally)
            if report.handed_back:
                self.kept[shard] = report.rows
                return HandedBack(worker=worker, shard=shard)
            self.reports[shard] = report
            self.vigil.committed(report.seconds)
            return ShardCommitted(worker=worker, shard=shard)
        if ref in self._asking:
            self._told_kind(self._asking.pop(ref), ref)
            return None
        worker = self._watching.pop(ref)
        try:
            shown: dict[int, int] = ray.get(ref)
        except RayError:
            return None  # the shard it holds will tell
        self.vigil.answered(worker, shown)
        held = [shard for holder, shard in self._printing.values() if holder == worker]
        self._partial[worker] = sum(shown.get(shard, 0) for shard in held)
        return None

    def _told_kind(self, worker: int, ref: Any) -> None:
        """Say it where a worker is of another kind than the plan was begun on, once a kind."""
        with suppress(RayError):
            kind = str(ray.get(ref))
            if kind not in self._kinds:
                self._kinds.add(kind)
                self.progress.say(
                    f"{self._places[worker]} computes on {kind}, this release was begun on "
                    f"{self._begun_on}: an image's bytes are the same within one kind alone; "
                    "column made_on tells which made each"
                )

    def _lost(self, worker: int, error: RayError) -> WorkerDied:
        """What it means that a worker's process is gone."""
        gone = went_with_its_machine(error, self._places.get(worker))
        self._drop(worker)
        return WorkerDied(worker=worker, reason=in_one_line(error), with_its_machine=gone)

    def _obey(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Start(worker=worker):
                    self._start(worker)
                case Load(worker=worker):
                    actor = self._actors[worker]
                    loading = actor.load.options(concurrency_group="work").remote()
                    self._loading[loading] = worker
                    self.vigil.loading(worker)
                case Submit(worker=worker, shard=shard, settled=settled):
                    method = self._actors[worker].print_shard.options(concurrency_group="work")
                    self._printing[method.remote(shard, settled)] = (worker, shard)
                case HandBack(worker=worker, shard=shard):
                    self._actors[worker].leave.options(concurrency_group="watch").remote(shard)
                case Retire(worker=worker):
                    self._drop(worker)
                case Retry(shard=shard, attempt=attempt, of=of, reason=reason, place=place):
                    self.metrics.retried()
                    where = f" ({place})" if place else ""
                    self.progress.say(f"shard {shard}, attempt {attempt} of {of}: {reason}{where}")
                case Rest(place=place, failures=failures, seconds=seconds, reason=reason):
                    self._resting[place] = time.monotonic() + seconds
                    self.progress.say(
                        f"{place} left out for {human_seconds(seconds)}: "
                        f"{counted(failures, 'failure')} in a row, the last: {reason}"
                    )
                case GiveUp(shard=shard, attempts=attempts, reason=reason):
                    self.metrics.gave_up()
                    self.progress.say(f"shard {shard} given up after {attempts} attempts: {reason}")
                case End():
                    self._end = decision

    def _start(self, worker: int) -> None:
        """Start a worker's actor, and ask it where it is."""
        told, reserve = self.assignment, dict(self._reserve)
        if self._folder is not None:
            told = replace(told, note=self._folder.note)
            reserve |= self._folder.selector()
        actor = start_worker(
            told,
            reserve=reserve,
            environment=self._environment,
            in_hand=self.policy.config.in_hand,
        )
        self._actors[worker] = actor
        self._placing[actor.where.options(concurrency_group="watch").remote()] = worker

    def _reached(self, worker: int, reached: Reached) -> Event | None:
        """A worker that shares the folder is placed; else one is started elsewhere in its stead."""
        assert self._folder is not None
        place = self._places[worker]
        why = self._folder.why_not(reached)
        if not why:
            return WorkerPlaced(worker=worker, place=place)
        if line := self._folder.leave_out(place.node, reached, why):
            self.progress.say(line)
        self._drop(worker)
        if nobody := self._folder.nobody(ray.nodes(), self._reserve):
            self._end = End(outcome=Outcome.STUCK, reason=nobody)
        else:
            self._start(worker)
        return None

    def _drop(self, worker: int) -> None:
        """End the worker's process, if it still lives, and forget what it was asked."""
        actor = self._actors.pop(worker, None)
        if actor is not None:
            ray.kill(actor)
        self.vigil.forget(worker)
        self._places.pop(worker, None)
        self._placing = {ref: w for ref, w in self._placing.items() if w != worker}
        self._ready.discard(worker)
        self._partial.pop(worker, None)
        self._loading = {ref: w for ref, w in self._loading.items() if w != worker}
        self._watching = {ref: w for ref, w in self._watching.items() if w != worker}
        self._asking = {ref: w for ref, w in self._asking.items() if w != worker}
        self._printing = {ref: held for ref, held in self._printing.items() if held[0] != worker}

    def _watch(self) -> None:
        """Ask every worker how far it is, unless it still owes an answer."""
        for worker in self._actors.keys() - set(self._watching.values()):
            method = self._actors[worker].progress.options(concurrency_group="watch")
            self._watching[method.remote()] = worker
            self.vigil.asked(worker)

    def _see_off(self, now: float) -> None:
        """Machines that are about to go get no other shard, and what they hold is kept in time."""
        for node, when in draining().items():
            if node not in self._leaving:
                left = when - time.time() if when else math.inf
                self._leaving[node] = now + left - BEFORE_IT_GOES_SECONDS
                if any(place.node == node for place in self._places.values()):
                    host = next(p.host for p in self._places.values() if p.node == node)
                    told = f" in {human_seconds(max(0.0, left))}" if when else ""
                    self.progress.say(f"machine {host} (node {node[:8]}) goes{told}")
                self._obey(self.policy.on(Draining(node=node)))
        gone = {node for node, until in self._leaving.items() if now >= until}
        workers = {w for w, place in self._places.items() if place.node in gone}
        self._keep(workers, BEFORE_IT_GOES_SECONDS / 2)
        for worker in workers:
            self._drop(worker)
            reason = "its machine goes"
            self._obey(
                self.policy.on(WorkerDied(worker=worker, reason=reason, with_its_machine=True))
            )

    def _keep(self, workers: set[int], seconds: float) -> None:
        """Have workers commit what is stored of their shards in hand, as far as they can by then.

        What one that does not answer in time has stored is drawn again.
        """
        busy = workers & {worker for worker, _ in self._printing.values()}
        if not busy:
            return
        actors = [self._actors[worker] for worker in busy]
        keeping = [actor.keep.options(concurrency_group="watch").remote() for actor in actors]
        came, _ = ray.wait(keeping, num_returns=len(keeping), timeout=seconds)
        for ref in came:
            with suppress(RayError):
                self.kept |= ray.get(ref)

    def _stopping(self) -> str:
        """What becomes of the shards in hand, once somebody has asked for an end."""
        left = self.interrupts.seconds_left
        if left is None:
            return f"stopping after the shards in hand{self._usual()}; Ctrl-C again stops at once"
        until = f"are worked on for {human_seconds(left)} more{self._usual()}" if left else "end"
        return f"stopping: the shards in hand {until}; what is stored of them is kept"

    def _usual(self) -> str:
        """What a shard has taken so far, for whoever waits for the last ones."""
        if not self.reports:
            return ""
        mean = sum(report.seconds for report in self.reports.values()) / len(self.reports)
        return f" (one takes some {human_seconds(mean)})"

    def _done(self) -> int:
        committed = sum(report.rows for report in self.reports.values())
        begun = sum(count for shard, count in self.kept.items() if shard not in self.reports)
        return committed + begun + sum(self._partial.values())
