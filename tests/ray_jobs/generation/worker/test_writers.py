"""Writer threads: as many as there are places, and their errors kept for who asks."""

from __future__ import annotations

import threading
import time

import pytest

from ray_jobs.generation.worker.writers import Writers


def test_submitting_waits_where_the_store_cannot_keep_up() -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def job() -> None:
        begun.release()
        gate.wait(10)

    with Writers[None](threads=1, waiting=1) as writers:
        futures = [writers.submit(job), writers.submit(job)]
        third = threading.Thread(target=lambda: futures.append(writers.submit(job)))
        third.start()
        begun.acquire(timeout=10)
        time.sleep(0.1)
        assert len(futures) == 2, "a third job was taken in beyond the bound"
        gate.set()
        third.join(10)
        assert len(futures) == 3


def test_an_error_in_a_writer_is_kept_for_who_asks_and_frees_its_place() -> None:
    def fail() -> int:
        raise OSError("disk full")

    with Writers[int](threads=1, waiting=0) as writers:
        first = writers.submit(fail)
        second = writers.submit(lambda: 7)
    with pytest.raises(OSError, match="disk full"):
        first.result()
    assert second.result() == 7
