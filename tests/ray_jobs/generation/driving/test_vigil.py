"""Which workers are taken for hung, and which slow ones are not."""

from __future__ import annotations

from ray_jobs.generation.driving.vigil import LONGEST_STEP_SECONDS, Vigil, first_seconds
from ray_jobs.generation.options import Device


class Clock:
    """A vigil whose time passes second by second."""

    def __init__(self, patience: float = 30.0, waiting: float = 0.0) -> None:
        self.vigil = Vigil(patience, first_seconds=5000.0, waiting_seconds=waiting)
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
    for _ in range(70):
        clock.wait(1)
        clock.vigil.answered(0, {0: 3})
    assert clock.vigil.hung() == {}
    clock.wait(1)
    assert clock.vigil.hung() == {0: "worker hung (it answers, and has stored nothing for 71 s)"}


def test_one_that_was_asked_just_now_may_hang_all_the_same() -> None:
    clock = Clock()
    clock.work(seconds_each=7, volumes=3)
    for _ in range(71):
        clock.vigil.answered(0, {0: 3})
        clock.wait(1)
        clock.vigil.asked(0)
    assert clock.vigil.hung()


def test_a_slow_model_is_not_shot_before_anything_is_known_of_it() -> None:
    clock = Clock()
    clock.work(seconds_each=4000, volumes=1)
    assert clock.vigil.hung() == {}
    clock.wait(12_000)
    assert clock.vigil.hung() == {}
    clock.wait(1)
    assert clock.vigil.hung()


def test_where_every_worker_hangs_in_its_first_batch_that_is_found_too() -> None:
    clock = Clock()
    clock.vigil.answered(0, {0: 0})
    clock.wait(5000)
    assert clock.vigil.hung() == {}
    clock.wait(1)
    assert clock.vigil.hung() == {0: "worker hung (it answers, and has stored nothing for 5001 s)"}


def test_that_the_first_volume_took_long_does_not_make_a_later_hang_last() -> None:
    clock = Clock()
    clock.work(seconds_each=300, volumes=1)  # with compiling
    for volume in range(2, 8):
        clock.wait(4)
        clock.vigil.answered(0, {0: volume})
    clock.wait(41)
    assert clock.vigil.hung()


def test_a_second_worker_may_take_as_long_for_its_first_volume_as_others_did() -> None:
    clock = Clock()
    clock.work(seconds_each=300, volumes=1)
    clock.vigil.answered(0, {})
    clock.vigil.answered(1, {1: 0})
    clock.wait(900)
    assert clock.vigil.hung() == {}
    clock.wait(1)
    assert list(clock.vigil.hung()) == [1]


def test_a_worker_that_never_loads_is_hung() -> None:
    clock = Clock()
    clock.vigil.loading(0)
    clock.wait(5000)
    assert clock.vigil.hung() == {}
    clock.wait(1)
    assert clock.vigil.hung() == {0: "worker hung (loading its model for 5001 s)"}
    clock.vigil.loaded(0)
    assert clock.vigil.hung() == {}
    clock.vigil.forget(0)
    clock.vigil.loading(1)
    clock.wait(20_000)
    assert clock.vigil.hung() == {}, "another took as long, and was well"


def test_a_first_batch_is_given_time_for_all_its_passes() -> None:
    assert first_seconds(120, passes=50 * 8, device=Device.CUDA) == 2200
    assert first_seconds(120, passes=1000, device=Device.CPU) == 31_800


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
    clock.vigil.answered(0, {0: 0})
    clock.wait(30)
    assert clock.vigil.hung() == {}
    clock.wait(1)
    assert clock.vigil.hung()
