"""The press's policy, decision by decision."""

from __future__ import annotations

import pytest

from ray_jobs.generation.driving.events import (
    Decision,
    Draining,
    End,
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
from ray_jobs.generation.driving.policy import Policy, PolicyConfig
from ray_jobs.generation.worker.doubts import Draws
from ray_jobs.generation.worker.environment import Place
from tests.benchmarks.tail import utilisation

CPU = Place(node="n0", host="one", device="CPU")
GPUS = [Place(node=f"n{i // 2}", host=f"host{i // 2}", device=f"GPU {i % 2}") for i in range(4)]


def policy_of(shards: int, **config: int) -> Policy:
    return Policy(range(shards), PolicyConfig(**{"workers": 2, **config}))  # type: ignore[arg-type]


def placed(policy: Policy, worker: int, place: Place = CPU) -> list[Decision]:
    """A worker finds a place, and loads its model if it is to; all that comes of it."""
    decisions = policy.on(WorkerPlaced(worker=worker, place=place))
    if Load(worker=worker) in decisions:
        decisions += policy.on(WorkerReady(worker=worker))
    return [d for d in decisions if d != Load(worker=worker)]


def start_all(policy: Policy, places: list[Place] | None = None) -> list[Decision]:
    """Place every worker that the policy asks for, on these devices in turn; what comes of it."""
    started = [d for d in policy.begin() if isinstance(d, Start)]
    places = places or [CPU] * len(started)
    return [
        s for d, place in zip(started, places, strict=True) for s in placed(policy, d.worker, place)
    ]


def gpus(shards: int, count: int = 2, **config: int) -> Policy:
    """A policy with a ready worker on each of so many GPUs."""
    policy = policy_of(shards, workers=count, room=count, devices=count, **config)
    start_all(policy, GPUS[:count])
    return policy


def failed(policy: Policy, worker: int, shard: int, reason: str = "CUDA error") -> list[Decision]:
    return policy.on(ShardFailed(worker=worker, shard=shard, reason=reason))


def doubted(
    policy: Policy, worker: int, shard: int, draws: Draws, *, whole: bool = False
) -> list[Decision]:
    return policy.on(
        ShardFailed(worker=worker, shard=shard, reason="not finite", doubts=draws, whole=whole)
    )


# ------------------------------------------------------------------------------ in good order


def test_no_more_workers_are_started_than_there_are_shards() -> None:
    assert policy_of(1, workers=4).begin() == [Start(worker=0)]


def test_nothing_to_do_ends_at_once_as_complete() -> None:
    assert policy_of(0).begin() == [End(outcome=Outcome.COMPLETE)]


def test_shards_are_handed_out_in_order_as_workers_become_ready() -> None:
    policy = policy_of(3)
    assert policy.begin() == [Start(worker=0), Start(worker=1)]
    assert policy.on(WorkerPlaced(worker=1, place=CPU)) == [Load(worker=1)]
    assert policy.on(WorkerReady(worker=1)) == [Submit(worker=1, shard=0)]
    assert placed(policy, 0) == [Submit(worker=0, shard=1)]
    assert policy.on(ShardCommitted(worker=0, shard=1)) == [Submit(worker=0, shard=2)]


def test_each_worker_gets_one_shard_before_any_gets_a_second_and_none_near_the_end() -> None:
    policy = policy_of(5, in_hand=2)
    policy.begin()
    assert placed(policy, 0) == [Submit(worker=0, shard=0), Submit(worker=0, shard=1)]
    assert placed(policy, 1) == [Submit(worker=1, shard=2), Submit(worker=1, shard=3)]
    assert policy.on(ShardCommitted(worker=0, shard=0)) == []


def test_at_the_end_an_idle_worker_takes_over_from_one_that_is_slower() -> None:
    policy = policy_of(4)
    start_all(policy)
    for shard in (0, 2):
        policy.on(ShardCommitted(worker=0, shard=shard))
    assert policy.on(ShardCommitted(worker=0, shard=3)) == [HandBack(worker=1, shard=1)]
    assert policy.on(HandedBack(worker=1, shard=1)) == [
        Submit(worker=0, shard=1),
        Retire(worker=1),
    ]
    assert policy.on(ShardCommitted(worker=0, shard=1)) == [
        Retire(worker=0),
        End(outcome=Outcome.COMPLETE),
    ]


def test_nobody_waits_for_a_shard_that_is_given_up_before_it_is_left() -> None:
    policy = policy_of(4, max_attempts=1)
    start_all(policy)
    for shard in (0, 2):
        policy.on(ShardCommitted(worker=0, shard=shard))
    assert policy.on(ShardCommitted(worker=0, shard=3)) == [HandBack(worker=1, shard=1)]
    decisions = policy.on(WorkerDied(worker=1, reason="killed"))
    assert decisions == [
        GiveUp(shard=1, attempts=1, reason="killed"),
        Retire(worker=0),
        End(outcome=Outcome.INCOMPLETE),
    ]


def test_gpus_of_unequal_speed_are_kept_busy_to_the_end() -> None:
    busy, times_the_least = utilisation([1.0] * 4 + [0.25] * 4, 1_000)
    assert busy > 0.8  # 0.60 where nobody hands back
    assert times_the_least < 1.3  # 2.56


def test_a_shard_that_is_done_before_it_is_left_is_taken_over_by_nobody() -> None:
    policy = policy_of(4)
    start_all(policy)
    for shard in (0, 2, 3):
        policy.on(ShardCommitted(worker=0, shard=shard))
    assert policy.on(ShardCommitted(worker=1, shard=1)) == [
        Retire(worker=0),
        Retire(worker=1),
        End(outcome=Outcome.COMPLETE),
    ]


def test_a_worker_that_dies_before_it_hands_back_loses_no_shard() -> None:
    policy = policy_of(4)
    start_all(policy)
    for shard in (0, 2, 3):
        policy.on(ShardCommitted(worker=0, shard=shard))
    told = policy.on(WorkerDied(worker=1, reason="OOM"))
    assert Submit(worker=0, shard=1) in told


def test_an_idle_worker_is_retired_once_no_shard_waits_and_the_last_commit_ends_the_run() -> None:
    policy = policy_of(2)
    start_all(policy)
    assert policy.on(ShardCommitted(worker=0, shard=0)) == [Retire(worker=0)]
    assert policy.on(ShardCommitted(worker=1, shard=1)) == [
        Retire(worker=1),
        End(outcome=Outcome.COMPLETE),
    ]


def test_a_stop_lets_shards_in_hand_finish_and_begins_no_other() -> None:
    policy = policy_of(9)
    policy.begin()
    placed(policy, 0)
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


def test_a_machine_about_to_go_finishes_what_it_holds_and_gets_nothing_more() -> None:
    policy = gpus(6, count=4)  # two on each of two machines
    assert policy.on(ShardCommitted(worker=2, shard=2)) == [Submit(worker=2, shard=4)]
    assert policy.on(Draining(node="n0")) == [Start(worker=4)]  # for shard 5, if there is room
    assert policy.on(ShardCommitted(worker=0, shard=0)) == [Retire(worker=0)]
    late = policy.on(WorkerPlaced(worker=4, place=GPUS[0]))  # it was on its way there
    assert late == [Retire(worker=4), Start(worker=5)]
    assert policy.on(ShardCommitted(worker=3, shard=3)) == [
        Submit(worker=3, shard=5),
        Retire(worker=5),
    ]
    gone = WorkerDied(worker=1, reason="its machine goes", with_its_machine=True)
    assert next(d for d in policy.on(gone) if isinstance(d, Retry)).attempt == 1


def test_the_last_shard_of_a_machine_about_to_go_starts_nobody_elsewhere() -> None:
    policy = gpus(2)
    policy.on(ShardCommitted(worker=0, shard=0))
    assert policy.on(Draining(node="n0")) == []  # worker 0 has ended already
    assert policy.on(ShardCommitted(worker=1, shard=1)) == [
        Retire(worker=1),
        End(outcome=Outcome.COMPLETE),
    ]


def test_machines_that_join_get_workers_where_their_number_was_left_open() -> None:
    policy = Policy(range(9), PolicyConfig(workers=1, grows=True))
    start_all(policy)
    assert policy.on(Room(workers=3, devices=3)) == [Start(worker=1), Start(worker=2)]
    fixed = policy_of(9, workers=1)
    start_all(fixed)
    assert fixed.on(Room(workers=3, devices=3)) == []


# ------------------------------------------------------------------------------- deaths


def test_a_dead_workers_shard_is_tried_again_on_a_new_worker() -> None:
    policy = policy_of(2)
    start_all(policy)
    assert policy.on(WorkerDied(worker=0, reason="killed")) == [
        Retry(shard=0, attempt=2, of=3, reason="killed", place=CPU),
        Start(worker=2),
    ]
    assert placed(policy, 2) == [Submit(worker=2, shard=0)]


def test_a_worker_that_raised_is_replaced_and_its_shard_tried_again() -> None:
    policy = policy_of(1, workers=1)
    start_all(policy)
    assert failed(policy, 0, 0) == [
        Retire(worker=0),
        Retry(shard=0, attempt=2, of=3, reason="CUDA error", place=CPU),
        Start(worker=1),
    ]


def test_only_the_oldest_shard_of_a_dead_worker_counts_an_attempt() -> None:
    policy = policy_of(2, workers=1, in_hand=2, max_attempts=1)
    start_all(policy)
    assert policy.on(WorkerDied(worker=0, reason="killed")) == [
        GiveUp(shard=0, attempts=1, reason="killed"),
        Start(worker=1),
    ]
    assert placed(policy, 1) == [Submit(worker=1, shard=1)]


def test_a_shard_is_given_up_after_its_last_attempt_and_the_rest_is_done_before() -> None:
    policy = policy_of(2, workers=1, max_attempts=2)
    start_all(policy)
    failed(policy, 0, 0, "bad")
    assert placed(policy, 1) == [Submit(worker=1, shard=1)]
    assert policy.on(ShardCommitted(worker=1, shard=1)) == [Submit(worker=1, shard=0)]
    assert failed(policy, 1, 0, "bad again")[1:] == [
        GiveUp(shard=0, attempts=2, reason="bad again"),
        End(outcome=Outcome.INCOMPLETE),
    ]
    assert policy.given_up == {0: "bad again"}


def test_a_machine_that_goes_costs_no_shard_an_attempt() -> None:
    policy = policy_of(4, workers=4, max_attempts=1)
    start_all(policy, GPUS)
    for worker in range(4):
        assert policy.on(WorkerDied(worker=worker, reason="node died", with_its_machine=True)) == [
            Retry(shard=worker, attempt=1, of=1, reason="node died", place=GPUS[worker]),
            Start(worker=4 + worker),
        ]
    assert not policy.given_up


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
    placed(policy, 1)
    assert policy.on(ShardCommitted(worker=0, shard=0)) == []
    assert policy.given_up == {}
    assert policy.on(ShardCommitted(worker=1, shard=1))[-1] == End(outcome=Outcome.COMPLETE)


def test_what_a_lost_worker_has_committed_is_neither_retried_nor_given_up() -> None:
    policy = policy_of(2, workers=1, in_hand=2, max_attempts=2)
    start_all(policy)
    policy.on(WorkerDied(worker=0, reason="connection lost"))
    placed(policy, 1)
    policy.on(ShardCommitted(worker=0, shard=0))
    policy.on(ShardCommitted(worker=0, shard=1))
    assert failed(policy, 1, 1, "slow")[-1] == End(outcome=Outcome.COMPLETE)


def test_a_shard_is_not_to_blame_for_its_storage() -> None:
    policy = policy_of(2, max_attempts=1)
    start_all(policy)
    assert policy.on(ShardFailed(worker=0, shard=0, reason="no answer", storage=True)) == [
        Retire(worker=0),
        Start(worker=2),
    ]
    assert placed(policy, 2) == [Submit(worker=2, shard=0)]


def test_a_storage_that_failed_every_worker_ends_the_run_and_a_commit_resets_the_count() -> None:
    policy = policy_of(9)
    start_all(policy)
    policy.on(ShardFailed(worker=0, shard=0, reason="full", storage=True))
    policy.on(ShardCommitted(worker=1, shard=1))
    assert policy.on(ShardFailed(worker=1, shard=0, reason="full", storage=True))
    assert placed(policy, 2) == [Submit(worker=2, shard=0)]
    assert policy.on(ShardFailed(worker=2, shard=0, reason="full again", storage=True)) == [
        Retire(worker=2),
        Retire(worker=3),
        End(outcome=Outcome.STUCK, reason="full again"),
    ]


# --------------------------------------------------------------------- devices that are wrong


def test_a_device_that_raises_is_left_out_and_the_other_does_the_work() -> None:
    policy = gpus(4)
    assert failed(policy, 0, 0) == [
        Retire(worker=0),
        Retry(shard=0, attempt=2, of=3, reason="CUDA error", place=GPUS[0]),
        Start(worker=2),
    ]
    assert placed(policy, 2, GPUS[0]) == [Submit(worker=2, shard=2)]  # 0 is for the other device
    decisions = failed(policy, 2, 2)
    rest = Rest(place=GPUS[0], failures=2, seconds=2.0, reason="CUDA error")
    assert decisions[2:] == [rest, Start(worker=3)]
    assert placed(policy, 3, GPUS[0]) == []  # keeps the device from others, and loads nothing
    for shard, after in ((1, 2), (2, 0), (0, 3)):
        assert policy.on(ShardCommitted(worker=1, shard=shard))[0] == Submit(worker=1, shard=after)
    assert policy.on(ShardCommitted(worker=1, shard=3))[-1] == End(outcome=Outcome.COMPLETE)


def test_a_device_that_has_rested_is_tried_again_and_rests_longer_if_it_fails() -> None:
    policy = gpus(9)
    failed(policy, 0, 0)
    placed(policy, 2, GPUS[0])
    failed(policy, 2, 2)
    placed(policy, 3, GPUS[0])
    assert policy.on(Rested(place=GPUS[0])) == [Load(worker=3)]
    policy.on(WorkerReady(worker=3))
    rests = [d for d in failed(policy, 3, 3) if isinstance(d, Rest)]
    assert rests == [Rest(place=GPUS[0], failures=3, seconds=4.0, reason="CUDA error")]


def test_one_device_that_fails_is_left_out_at_once_where_others_were_not_tried() -> None:
    policy = policy_of(1, workers=1, room=2, devices=2)
    start_all(policy, [GPUS[0]])
    rest = Rest(place=GPUS[0], failures=1, seconds=10.0, reason="CUDA error")
    assert failed(policy, 0, 0)[-2:] == [rest, Start(worker=1)]
    assert placed(policy, 1, GPUS[0]) == [Start(worker=2)]
    assert placed(policy, 2, GPUS[1])[0] == Submit(worker=2, shard=0)


def test_where_every_device_fails_again_and_again_the_run_ends_and_gives_nothing_up() -> None:
    policy = gpus(99, max_failures=2)
    ends: list[End] = []
    workers = {0: (GPUS[0], 0), 1: (GPUS[1], 1)}
    for _ in range(20):
        for worker, (place, shard) in list(workers.items()):
            del workers[worker]
            for decision in failed(policy, worker, shard):
                if isinstance(decision, Start):
                    handed = placed(policy, decision.worker, place)
                    ends += [d for d in handed if isinstance(d, End)]
                    for d in handed:
                        if isinstance(d, Submit):
                            workers[d.worker] = (place, d.shard)
    assert ends == [End(outcome=Outcome.STUCK, reason="CUDA error")]
    assert not policy.given_up


def test_a_damaged_copy_of_the_model_leaves_out_its_machine_alone() -> None:
    policy = policy_of(9, workers=3, room=3, devices=3)
    policy.begin()
    policy.on(WorkerPlaced(worker=0, place=GPUS[0]))
    policy.on(WorkerPlaced(worker=1, place=GPUS[1]))
    decisions = policy.on(WorkerDied(worker=0, reason="damaged", fatal=True))
    rests = [d.place for d in decisions if isinstance(d, Rest)]
    assert (rests, decisions[-1]) == (GPUS[:2], Start(worker=3))
    assert placed(policy, 3, GPUS[1]) == []  # of the same machine
    assert placed(policy, 2, GPUS[2]) == [Submit(worker=2, shard=0)]


def test_a_damaged_model_on_the_only_machine_ends_the_run() -> None:
    policy = policy_of(4)
    policy.begin()
    for worker in (0, 1):
        policy.on(WorkerPlaced(worker=worker, place=CPU))
    policy.on(WorkerDied(worker=1, reason="no such model", fatal=True))
    policy.on(WorkerDied(worker=0, reason="no such model", fatal=True))
    placed(policy, 2)
    assert placed(policy, 3)[-1] == End(outcome=Outcome.STUCK, reason="no such model")
    assert policy.on(WorkerReady(worker=0)) == []


def test_a_poison_shard_is_given_up_across_two_devices_which_are_forgiven() -> None:
    policy = gpus(3, max_attempts=2)
    failed(policy, 0, 0)
    assert placed(policy, 2, GPUS[0]) == [Submit(worker=2, shard=2)]
    assert policy.on(ShardCommitted(worker=1, shard=1)) == [Submit(worker=1, shard=0)]
    assert GiveUp(shard=0, attempts=2, reason="CUDA error") in failed(policy, 1, 0)
    assert not any(map(policy._places.count, GPUS[:2]))


# ------------------------------------------------------------------------- what is not finite


def test_what_is_not_finite_on_one_device_is_drawn_again_on_another_and_committed() -> None:
    policy = gpus(2)
    bad = frozenset({(0, 0), (0, 1), (0, 2)})
    assert doubted(policy, 0, 0, bad) == [
        Retire(worker=0),
        Retry(shard=0, attempt=1, of=3, reason="not finite", place=GPUS[0]),
        Start(worker=2),
    ]
    assert placed(policy, 2, GPUS[0]) == []  # that shard is for the other device
    assert policy.on(ShardCommitted(worker=1, shard=1))[0] == Submit(worker=1, shard=0)
    assert policy.on(ShardCommitted(worker=1, shard=0))[-1] == End(outcome=Outcome.COMPLETE)


def test_a_draw_that_two_devices_find_not_finite_is_the_samples() -> None:
    policy = gpus(2)
    sick = frozenset({(0, 0)})
    doubted(policy, 0, 0, sick)
    placed(policy, 2, GPUS[0])
    policy.on(ShardCommitted(worker=1, shard=1))
    assert doubted(policy, 1, 0, sick)[0] in (
        Submit(worker=1, shard=0, settled=sick),
        Submit(worker=2, shard=0, settled=sick),
    )
    assert not policy._places.count(GPUS[0])


def test_a_device_that_is_alone_is_believed_twice_unless_it_makes_nothing_else() -> None:
    sick = frozenset({(0, 0), (1, 0)})
    for whole in (False, True):
        policy = policy_of(2, workers=1)
        start_all(policy)
        doubted(policy, 0, 0, sick, whole=whole)
        assert placed(policy, 1) == [Submit(worker=1, shard=1)]
        if not whole:
            policy.on(ShardCommitted(worker=1, shard=1))
            told = doubted(policy, 1, 0, sick)
            assert told == [Submit(worker=1, shard=0, settled=sick)]
        else:
            doubted(policy, 1, 1, frozenset({(8, 0), (9, 0)}), whole=True)
            assert not policy._blame.settled(0)
            assert not policy._blame.settled(1)


def test_where_nothing_passes_its_check_the_run_ends_once_two_devices_say_so() -> None:
    alone = policy_of(9)
    start_all(alone)
    hopeless = ShardFailed(worker=0, shard=0, reason="nothing passed", hopeless=True)
    end = End(outcome=Outcome.STUCK, reason="nothing passed")
    assert alone.on(hopeless)[-1] == end
    policy = gpus(9)
    assert end not in policy.on(hopeless)
    other = ShardFailed(worker=1, shard=1, reason="nothing passed", hopeless=True)
    assert policy.on(other)[-1] == end


def test_a_knob_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="workers: found 0, expected at least 1"):
        PolicyConfig(workers=0)
