"""Which workers are taken for hung, and which slow ones are not."""

from __future__ import annotations

from ray_jobs.generation.driving.vigil import LONGEST_STEP_SECONDS, Vigil


class Clock:
    """A vigil whose time passes second by second."""

    def __init__(self, patience: float = 30.0, waiting: float = 0.0) -> None:
        self.vigil = Vigil(patience, waiting_seconds=waiting)
        self.now = 1000.0
        self.vigil.tick(self.now)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.vigil.tick(self.now)

    def work(self, seconds_each: int, volumes: int) -> None:
        """Worker 0 stores volumes of shard 0, and answers when asked, each second."""
        for volume in range(volumes):
            for _ in range(seconds_each):
                self.vigil.asked(0)
                self.vigil.answered(0, {0: volume})
                self.wait(1)
        self.vigil.answered(0, {0: volumes})


def test_a_worker_that_stops_answering_is_hung_once_patience_is_over() -> None:
    clock = Clock()
    clock.vigil.asked(0)
    clock.vigil.answered(0, {})
    clock.vigil.asked(0)
    clock.wait(30)
    assert clock.vigil.hung() == {}
    clock.wait(1)
    assert clock.vigil.hung() == {0: "worker hung (no answer for 31 s)"}
    clock.vigil.forget(0)
    assert clock.vigil.hung() == {}


def test_a_worker_that_still_waits_for_a_machine_is_not_hung() -> None:
    clock = Clock()
    clock.vigil.asked(0)
    clock.wait(10_000)
    assert clock.vigil.hung() == {}


def test_nobody_is_hung_because_the_driver_slept() -> None:
    clock = Clock()
    clock.vigil.asked(0)
    clock.vigil.answered(0, {0: 1})
    clock.vigil.asked(0)
    clock.vigil.tick(clock.now + 8 * 3600)
    assert clock.vigil.hung() == {}
    assert LONGEST_STEP_SECONDS < 30


def test_a_worker_that_answers_and_stores_nothing_is_hung_by_the_measure_of_the_slowest() -> None:
    clock = Clock()
    clock.work(seconds_each=7, volumes=3)
    assert clock.vigil.longest_seconds == 70
    for _ in range(70):
        clock.wait(1)
        clock.vigil.answered(0, {0: 3})
    assert clock.vigil.hung() == {}
    clock.wait(1)
    assert clock.vigil.hung() == {0: "worker hung (it answers, and has stored nothing for 71 s)"}


def test_a_slow_model_is_not_shot_before_anything_is_known_of_it() -> None:
    clock = Clock()
    clock.work(seconds_each=4000, volumes=1)
    assert clock.vigil.hung() == {}
    assert clock.vigil.longest_seconds == 40_000


def test_a_worker_without_work_may_idle_and_a_new_shard_begins_a_new_count() -> None:
    clock = Clock()
    clock.work(seconds_each=1, volumes=2)
    clock.vigil.answered(0, {})
    clock.wait(5000)
    assert clock.vigil.hung() == {}
    clock.vigil.answered(0, {7: 0})
    clock.wait(30)
    assert clock.vigil.hung() == {}


def test_waiting_for_the_storage_is_no_hanging() -> None:
    clock = Clock(waiting=600)
    clock.work(seconds_each=1, volumes=2)
    clock.wait(629)
    assert clock.vigil.hung() == {}


def test_shards_too_quick_to_be_seen_at_work_are_a_measure_too() -> None:
    clock = Clock()
    clock.vigil.committed(0.2)
    assert clock.vigil.longest_seconds == 30
