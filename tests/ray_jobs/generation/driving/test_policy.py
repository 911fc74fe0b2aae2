"""The press's policy, decision by decision."""

from __future__ import annotations

import pytest

from ray_jobs.generation.driving.policy import (
    Decision,
    End,
    GiveUp,
    Outcome,
    Policy,
    PolicyConfig,
    Retire,
    Retry,
    ShardCommitted,
    ShardFailed,
    Start,
    StopAsked,
    Submit,
    WorkerDied,
    WorkerReady,
)


def policy_of(shards: int, **config: int) -> Policy:
    return Policy(range(shards), PolicyConfig(**{"workers": 2, **config}))


def start_all(policy: Policy) -> list[Decision]:
    """Start every worker that the policy asks for; what it then hands out."""
    started = [d for d in policy.begin() if isinstance(d, Start)]
    return [s for d in started for s in policy.on(WorkerReady(worker=d.worker))]


def test_no_more_workers_are_started_than_there_are_shards() -> None:
    assert policy_of(1, workers=4).begin() == [Start(worker=0)]


def test_nothing_to_do_ends_at_once_as_complete() -> None:
    assert policy_of(0).begin() == [End(outcome=Outcome.COMPLETE)]


def test_shards_are_handed_out_in_order_as_workers_become_ready() -> None:
    policy = policy_of(3)
    assert policy.begin() == [Start(worker=0), Start(worker=1)]
    assert policy.on(WorkerReady(worker=1)) == [Submit(worker=1, shard=0)]
    assert policy.on(WorkerReady(worker=0)) == [Submit(worker=0, shard=1)]
    assert policy.on(ShardCommitted(worker=0, shard=1)) == [Submit(worker=0, shard=2)]


def test_each_worker_gets_one_shard_before_any_gets_a_second() -> None:
    policy = policy_of(4, in_hand=2)
    policy.begin()
    assert policy.on(WorkerReady(worker=0)) == [
        Submit(worker=0, shard=0),
        Submit(worker=0, shard=1),
    ]
    assert policy.on(WorkerReady(worker=1)) == [
        Submit(worker=1, shard=2),
        Submit(worker=1, shard=3),
    ]


def test_an_idle_worker_is_retired_once_no_shard_waits_and_the_last_commit_ends_the_run() -> None:
    policy = policy_of(2)
    start_all(policy)
    assert policy.on(ShardCommitted(worker=0, shard=0)) == [Retire(worker=0)]
    assert policy.on(ShardCommitted(worker=1, shard=1)) == [
        Retire(worker=1),
        End(outcome=Outcome.COMPLETE),
    ]


def test_a_dead_workers_shard_is_tried_again_on_a_new_worker() -> None:
    policy = policy_of(2)
    start_all(policy)
    assert policy.on(WorkerDied(worker=0, reason="killed")) == [
        Retry(shard=0, attempt=2, of=3, reason="killed"),
        Start(worker=2),
    ]
    assert policy.on(WorkerReady(worker=2)) == [Submit(worker=2, shard=0)]


def test_a_worker_that_raised_is_replaced_and_its_shard_tried_again() -> None:
    policy = policy_of(1, workers=1)
    start_all(policy)
    assert policy.on(ShardFailed(worker=0, shard=0, reason="CUDA error")) == [
        Retire(worker=0),
        Retry(shard=0, attempt=2, of=3, reason="CUDA error"),
        Start(worker=1),
    ]


def test_only_the_oldest_shard_of_a_dead_worker_counts_an_attempt() -> None:
    policy = policy_of(2, workers=1, in_hand=2, max_attempts=1)
    start_all(policy)
    assert policy.on(WorkerDied(worker=0, reason="killed")) == [
        GiveUp(shard=0, attempts=1, reason="killed"),
        Start(worker=1),
    ]
    assert policy.on(WorkerReady(worker=1)) == [Submit(worker=1, shard=1)]


def test_a_shard_is_given_up_after_its_last_attempt_and_the_rest_is_still_done() -> None:
    policy = policy_of(2, workers=1, max_attempts=2)
    start_all(policy)
    policy.on(ShardFailed(worker=0, shard=0, reason="bad"))
    policy.on(WorkerReady(worker=1))
    decisions = policy.on(ShardFailed(worker=1, shard=0, reason="bad again"))
    assert GiveUp(shard=0, attempts=2, reason="bad again") in decisions
    assert policy.on(WorkerReady(worker=2)) == [Submit(worker=2, shard=1)]
    assert policy.on(ShardCommitted(worker=2, shard=1))[-1] == End(outcome=Outcome.INCOMPLETE)
    assert policy.given_up == {0: "bad again"}


def test_failures_in_a_row_end_the_run_as_stuck_and_a_commit_resets_the_count() -> None:
    policy = policy_of(9, workers=1, max_failures_in_a_row=2)
    start_all(policy)
    policy.on(ShardFailed(worker=0, shard=0, reason="a"))
    policy.on(WorkerReady(worker=1))
    policy.on(ShardCommitted(worker=1, shard=0))
    policy.on(ShardFailed(worker=1, shard=1, reason="b"))
    last = policy.on(WorkerDied(worker=2, reason="c"))[-1]
    assert last == End(outcome=Outcome.STUCK, reason="2 failures in a row, the last: c")


def test_a_fatal_death_ends_the_run_and_retires_the_other_workers() -> None:
    policy = policy_of(4)
    policy.begin()
    assert policy.on(WorkerDied(worker=1, reason="no such model", fatal=True)) == [
        Retire(worker=0),
        End(outcome=Outcome.STUCK, reason="no such model"),
    ]
    assert policy.on(WorkerReady(worker=0)) == []


def test_a_stop_lets_shards_in_hand_finish_and_begins_no_other() -> None:
    policy = policy_of(9)
    policy.begin()
    policy.on(WorkerReady(worker=0))
    assert policy.on(StopAsked()) == [Retire(worker=1)]
    assert policy.on(ShardCommitted(worker=0, shard=0)) == [
        Retire(worker=0),
        End(outcome=Outcome.STOPPED),
    ]


def test_a_stop_that_comes_during_the_last_shard_still_ends_as_complete() -> None:
    policy = policy_of(1)
    start_all(policy)
    assert policy.on(StopAsked()) == []
    assert policy.on(ShardCommitted(worker=0, shard=0))[-1] == End(outcome=Outcome.COMPLETE)


def test_a_commit_that_arrives_after_its_workers_death_is_not_done_twice() -> None:
    policy = policy_of(1, workers=1)
    start_all(policy)
    policy.on(WorkerDied(worker=0, reason="connection lost"))
    assert policy.on(ShardCommitted(worker=0, shard=0)) == [
        Retire(worker=1),
        End(outcome=Outcome.COMPLETE),
    ]


def test_a_late_commit_takes_back_a_giving_up_and_the_run_is_complete() -> None:
    policy = policy_of(2, workers=1, in_hand=2, max_attempts=1)
    start_all(policy)
    policy.on(WorkerDied(worker=0, reason="connection lost"))
    assert policy.given_up == {0: "connection lost"}
    policy.on(WorkerReady(worker=1))
    assert policy.on(ShardCommitted(worker=0, shard=0)) == []
    assert policy.given_up == {}
    assert policy.on(ShardCommitted(worker=1, shard=1))[-1] == End(outcome=Outcome.COMPLETE)


def test_what_a_lost_worker_has_committed_is_neither_retried_nor_given_up() -> None:
    policy = policy_of(2, workers=1, in_hand=2, max_attempts=2)
    start_all(policy)
    policy.on(WorkerDied(worker=0, reason="connection lost"))
    policy.on(WorkerReady(worker=1))
    policy.on(ShardCommitted(worker=0, shard=0))
    policy.on(ShardCommitted(worker=0, shard=1))
    assert policy.on(ShardFailed(worker=1, shard=0, reason="slow"))[-1] == End(
        outcome=Outcome.COMPLETE
    )


def test_a_shard_is_not_to_blame_for_its_storage() -> None:
    policy = policy_of(2, max_attempts=1)
    start_all(policy)
    assert policy.on(ShardFailed(worker=0, shard=0, reason="no answer", storage=True)) == [
        Retire(worker=0),
        Start(worker=2),
    ]
    assert policy.on(WorkerReady(worker=2)) == [Submit(worker=2, shard=0)]


def test_a_storage_that_failed_every_worker_ends_the_run_and_a_commit_resets_the_count() -> None:
    policy = policy_of(9)
    start_all(policy)
    policy.on(ShardFailed(worker=0, shard=0, reason="full", storage=True))
    policy.on(ShardCommitted(worker=1, shard=1))
    policy.on(ShardFailed(worker=1, shard=0, reason="full", storage=True))
    policy.on(WorkerReady(worker=2))
    assert policy.on(ShardFailed(worker=2, shard=0, reason="full again", storage=True)) == [
        Retire(worker=2),
        Retire(worker=3),
        End(outcome=Outcome.STUCK, reason="full again"),
    ]


def test_a_knob_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="workers: found 0, expected at least 1"):
        PolicyConfig(workers=0)


def test_where_nothing_passes_its_check_the_run_ends_at_once() -> None:
    policy = Policy(range(9), PolicyConfig(workers=2))
    policy.begin()
    policy.on(WorkerReady(worker=0))
    policy.on(WorkerReady(worker=1))
    decisions = policy.on(ShardFailed(worker=0, shard=0, reason="nothing passed", fatal=True))
    assert decisions == [
        Retire(worker=0),
        Retire(worker=1),
        End(outcome=Outcome.STUCK, reason="nothing passed"),
    ]
