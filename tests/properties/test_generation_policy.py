"""Whatever happens to the workers, in whatever order, the policy loses no shard and always ends."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ray_jobs.generation.driving.blame import most_attempts
from ray_jobs.generation.driving.events import (
    Decision,
    End,
    Event,
    GiveUp,
    Load,
    Outcome,
    Rest,
    Rested,
    Retire,
    ShardCommitted,
    ShardFailed,
    Start,
    StopAsked,
    Submit,
    WorkerDied,
    WorkerPlaced,
    WorkerReady,
)
from ray_jobs.generation.driving.policy import Policy, PolicyConfig
from ray_jobs.generation.worker.environment import Place


class World:
    """Workers and shards as they would really be: obeys decisions, makes events by chance."""

    def __init__(
        self, policy: Policy, chance: random.Random, trouble: float, stop: float, places: int
    ) -> None:
        self.policy, self.chance, self.trouble, self.stop = policy, chance, trouble, stop
        self.places = [Place(node=str(i // 2), host="h", device=f"GPU {i}") for i in range(places)]
        self.waiting: set[int] = set()
        self.placed: set[int] = set()
        self.resting: list[Place] = []
        self.starting: set[int] = set()
        self.held: dict[int, list[int]] = {}
        self.numbers: set[int] = set()
        self.committed: list[int] = []
        self.given_up: list[int] = []
        self.submissions: dict[int, int] = {}
        self.stopped = False
        self.end: End | None = None

    def obey(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            assert self.end is None, "a decision after the end"
            match decision:
                case Start(worker=worker):
                    assert worker not in self.numbers, "a worker's number used twice"
                    self.numbers.add(worker)
                    self.waiting.add(worker)
                case Load(worker=worker):
                    self.placed.remove(worker)
                    self.starting.add(worker)
                case Rest(place=place):
                    self.resting.append(place)
                case Submit(worker=worker, shard=shard):
                    assert shard not in self.committed
                    assert shard not in self.given_up
                    assert all(shard not in held for held in self.held.values())
                    self.held[worker].append(shard)
                    assert len(self.held[worker]) <= self.policy.config.in_hand
                    self.submissions[shard] = self.submissions.get(shard, 0) + 1
                case Retire(worker=worker):
                    for those in (self.waiting, self.placed, self.starting):
                        those.discard(worker)
                    self.held.pop(worker, None)
                case GiveUp(shard=shard, attempts=attempts):
                    most = self.policy.config.max_attempts
                    assert most <= attempts <= most_attempts(most)
                    self.given_up.append(shard)
                case End():
                    self.end = decision
            at_work = len(self.waiting) + len(self.starting) + len(self.held)
            assert at_work <= self.policy.config.workers

    def event(self) -> Event:
        if self.chance.random() < self.stop:
            self.stopped = True
            return StopAsked()
        busy = [worker for worker, held in self.held.items() if held]
        able = [*sorted(self.waiting), *sorted(self.starting), *busy]
        if self.resting and (not able or self.chance.random() < 0.1):
            return Rested(place=self.resting.pop())
        worker = self.chance.choice(able)
        bad = self.chance.random() < self.trouble
        if worker in self.waiting:
            self.waiting.remove(worker)
            if bad and self.chance.random() < 0.5:
                return WorkerDied(worker=worker, reason="nowhere")
            self.placed.add(worker)
            return WorkerPlaced(worker=worker, place=self.chance.choice(self.places))
        if worker in self.starting:
            self.starting.remove(worker)
            if bad:
                fatal = self.chance.random() < 0.2
                return WorkerDied(worker=worker, reason="at birth", fatal=fatal)
            self.held[worker] = []
            return WorkerReady(worker=worker)
        if bad and self.chance.random() < 0.5:
            del self.held[worker]
            gone = self.chance.random() < 0.2
            return WorkerDied(worker=worker, reason="at work", with_its_machine=gone)
        shard = self.chance.choice(self.held[worker])
        self.held[worker].remove(shard)
        if bad:
            how = self.chance.choice(("raised", "storage", "not finite", "hopeless"))
            return ShardFailed(
                worker=worker,
                shard=shard,
                reason=how,
                storage=how == "storage",
                hopeless=how == "hopeless",
                doubts=frozenset(
                    {(shard, self.chance.randint(0, 2))} if how == "not finite" else ()
                ),
                whole=self.chance.random() < 0.5,
            )
        self.committed.append(shard)
        return ShardCommitted(worker=worker, shard=shard)


@settings(max_examples=300, deadline=None)
@given(
    shards=st.lists(st.integers(0, 99), unique=True, max_size=25),
    workers=st.integers(1, 5),
    in_hand=st.integers(1, 3),
    max_attempts=st.integers(1, 4),
    max_failures=st.integers(1, 12),
    places=st.integers(1, 5),
    more_room=st.integers(0, 3),
    trouble=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    stop=st.sampled_from([0.0, 0.0, 0.05]),
    seed=st.integers(0, 2**32),
)
def test_every_run_ends_and_every_shard_is_accounted_for(
    shards: list[int],
    workers: int,
    in_hand: int,
    max_attempts: int,
    max_failures: int,
    places: int,
    more_room: int,
    trouble: float,
    stop: float,
    seed: int,
) -> None:
    config = PolicyConfig(
        workers=workers,
        in_hand=in_hand,
        max_attempts=max_attempts,
        max_failures=max_failures,
        room=workers + more_room,
    )
    policy = Policy(shards, config)
    world = World(policy, random.Random(seed), trouble, stop, places)
    world.obey(policy.begin())
    for _ in range(2000):
        if world.end:
            break
        able = world.waiting or world.starting or world.resting or any(world.held.values())
        assert able, "waiting for nobody"
        world.obey(policy.on(world.event()))
    assert world.end, "the run never ends"

    assert sorted(world.committed) == sorted(policy.committed), "a commit forgotten or repeated"
    assert not set(world.committed) & set(world.given_up)
    if world.end.outcome is not Outcome.STUCK:
        assert not world.waiting | world.placed | world.starting, "a worker left behind"
        assert not world.held, "a worker left behind"
    match world.end.outcome:
        case Outcome.COMPLETE:
            assert sorted(world.committed) == sorted(shards)
        case Outcome.INCOMPLETE:
            assert world.given_up
            assert sorted(world.committed + world.given_up) == sorted(shards)
        case Outcome.STOPPED:
            assert world.stopped
    if trouble == 0.0 and not world.stopped:
        assert world.end.outcome is Outcome.COMPLETE
        assert set(world.submissions.values()) <= {1}, "work done twice for no reason"
