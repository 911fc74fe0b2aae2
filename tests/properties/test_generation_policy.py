"""Whatever happens to the workers, in whatever order, the policy loses no shard and always ends."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ray_jobs.generation.driving.policy import (
    Decision,
    End,
    Event,
    GiveUp,
    Outcome,
    Policy,
    PolicyConfig,
    Retire,
    ShardCommitted,
    ShardFailed,
    Start,
    StopAsked,
    Submit,
    WorkerDied,
    WorkerReady,
)


class World:
    """Workers and shards as they would really be: obeys decisions, makes events by chance."""

    def __init__(self, policy: Policy, chance: random.Random, trouble: float, stop: float) -> None:
        self.policy, self.chance, self.trouble, self.stop = policy, chance, trouble, stop
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
                    self.starting.add(worker)
                case Submit(worker=worker, shard=shard):
                    assert shard not in self.committed
                    assert shard not in self.given_up
                    assert all(shard not in held for held in self.held.values())
                    self.held[worker].append(shard)
                    assert len(self.held[worker]) <= self.policy.config.in_hand
                    self.submissions[shard] = self.submissions.get(shard, 0) + 1
                case Retire(worker=worker):
                    self.starting.discard(worker)
                    self.held.pop(worker, None)
                case GiveUp(shard=shard, attempts=attempts):
                    assert attempts == self.policy.config.max_attempts
                    self.given_up.append(shard)
                case End():
                    self.end = decision
            assert len(self.starting) + len(self.held) <= self.policy.config.workers

    def event(self) -> Event:
        if self.chance.random() < self.stop:
            self.stopped = True
            return StopAsked()
        busy = [worker for worker, held in self.held.items() if held]
        worker = self.chance.choice([*sorted(self.starting), *busy])
        bad = self.chance.random() < self.trouble
        if worker in self.starting:
            self.starting.remove(worker)
            if bad:
                return WorkerDied(worker=worker, reason="at birth")
            self.held[worker] = []
            return WorkerReady(worker=worker)
        if bad and self.chance.random() < 0.5:
            del self.held[worker]
            return WorkerDied(worker=worker, reason="at work")
        shard = self.chance.choice(self.held[worker])
        self.held[worker].remove(shard)
        if bad:
            storage = self.chance.random() < 0.3
            return ShardFailed(worker=worker, shard=shard, reason="raised", storage=storage)
        self.committed.append(shard)
        return ShardCommitted(worker=worker, shard=shard)


@settings(max_examples=300, deadline=None)
@given(
    shards=st.lists(st.integers(0, 99), unique=True, max_size=25),
    workers=st.integers(1, 5),
    in_hand=st.integers(1, 3),
    max_attempts=st.integers(1, 4),
    max_failures_in_a_row=st.integers(1, 12),
    trouble=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    stop=st.sampled_from([0.0, 0.0, 0.05]),
    seed=st.integers(0, 2**32),
)
def test_every_run_ends_and_every_shard_is_accounted_for(
    shards: list[int],
    workers: int,
    in_hand: int,
    max_attempts: int,
    max_failures_in_a_row: int,
    trouble: float,
    stop: float,
    seed: int,
) -> None:
    config = PolicyConfig(
        workers=workers,
        in_hand=in_hand,
        max_attempts=max_attempts,
        max_failures_in_a_row=max_failures_in_a_row,
    )
    policy = Policy(shards, config)
    world = World(policy, random.Random(seed), trouble, stop)
    world.obey(policy.begin())
    for _ in range(2000):
        if world.end:
            break
        assert world.starting or any(world.held.values()), "waiting for nobody"
        world.obey(policy.on(world.event()))
    assert world.end, "the run never ends"

    assert sorted(world.committed) == sorted(policy.committed), "a commit forgotten or repeated"
    assert not set(world.committed) & set(world.given_up)
    if world.end.outcome is not Outcome.STUCK:
        assert not world.starting, "a worker left behind"
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
