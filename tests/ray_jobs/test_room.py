"""Where a job's workers have room, and how long it is waited for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ray_jobs import room
from ray_jobs.errors import JobError
from ray_jobs.room import Machine, Room, pending_in, wait

HEAD, SMALL_GPU = Machine(8), Machine(2, 1)


def test_the_share_of_cpus_is_what_a_machine_with_room_has() -> None:
    assert Room((Machine(8),)).share(1, gpu=False) == 8
    assert Room((Machine(8),)).share(3, gpu=False) == 2
    assert Room((Machine(8), Machine(8))).share(2, gpu=False) == 8
    assert Room((HEAD, SMALL_GPU, SMALL_GPU)).share(2, gpu=True) == 2
    assert Room((Machine(64, 8),)).share(8, gpu=True) == 8
    assert Room((Machine(0), HEAD)).share(9, gpu=False) == 0
    assert Room((HEAD,)).share(1, gpu=True) == 0


def test_workers_are_counted_a_machine_at_a_time() -> None:
    there = Room((HEAD, SMALL_GPU, SMALL_GPU))
    assert there.slots(Machine(1)) == 12
    assert there.slots(Machine(1, 1)) == 2
    assert there.slots(Machine(3, 1)) == 0


def waited(
    states: list[tuple[Machine, ...]], coming: list[int], *, workers: int = 2
) -> tuple[Room, list[str]]:
    """What came of waiting where the cluster shows these states, the last for ever."""

    def each(values: list) -> Iterator:  # type: ignore[type-arg]
        yield from values
        while True:
            yield values[-1]

    told: list[str] = []
    machines, starting = each(states), each(coming)
    found = wait(
        workers,
        Machine(1, 1),
        "--workers 2 --gpu",
        machines=lambda: next(machines),
        coming=lambda: next(starting),
        sleep=lambda _: None,
        tell=told.append,
    )
    return found, told


def test_machines_that_are_started_are_waited_for_without_end() -> None:
    long = 3 * int(room.PATIENCE_SECONDS / room.POLL_SECONDS)
    states = [(Machine(0),)] * long + [(Machine(0), SMALL_GPU), (Machine(0), SMALL_GPU, SMALL_GPU)]
    found, told = waited(states, [0, 0] + [2] * long)
    assert found.grew
    assert found.share(2, gpu=True) == 2
    assert "2 workers of 1 CPU and 1 GPU each" in told[0]
    assert "for at most 300 s" in told[0]
    assert "2 machines on the way" in told[1]
    assert len(told) == 3


def test_where_nothing_comes_one_line_says_what_is_there_and_what_was_wanted() -> None:
    with pytest.raises(JobError) as refusal:
        waited([(HEAD, SMALL_GPU)], [0])
    assert str(refusal.value) == (
        "--workers 2 --gpu: no room for 2 workers of 1 CPU and 1 GPU each, of which 1 fit; the "
        "cluster has 2 machines: 1 of 8 CPUs, 1 of 2 CPUs and 1 GPU, and none came in 300 s. Give "
        "fewer workers, less for each, or more machines"
    )
    assert refusal.value.exit_code == 1


def test_what_an_autoscaler_tells_of_itself_is_counted() -> None:
    told = {"pending_nodes": [["1", "gpu", "up"]], "pending_launches": {"gpu": 2, "cpu": 1}}
    assert pending_in({"autoscaler_report": told}) == 4
    assert pending_in({"autoscaler_report": None}) == 0
    assert pending_in({}) == 0
