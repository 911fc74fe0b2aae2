"""The dry run's arithmetic and its words."""

from __future__ import annotations

from manifests.numbers import human_seconds
from ray_jobs.generation.dry_run import Measured, estimate, in_bytes


def test_the_estimate_follows_the_workers_as_they_take_shards() -> None:
    shards = {0: range(8), 1: range(8, 16), 2: range(16, 21)}
    measured = Measured(seconds_per_batch=10, bytes_per_volume=100)
    found = estimate(shards, [1, 2], batch_size=4, actors=1, measured=measured)
    assert (found.shards, found.pending, found.volumes, found.bytes) == (3, 2, 13, 1300)
    assert found.seconds == 40  # two full batches each, the last one mostly dropped
    both = estimate(shards, [0, 1, 2], batch_size=4, actors=2, measured=measured)
    assert (both.actors, both.seconds) == (2, 40)
    assert estimate(shards, [0], batch_size=4, actors=9, measured=measured).actors == 1
    assert estimate(shards, [], batch_size=4, actors=2, measured=measured).seconds == 0


def test_times_and_bytes_read_well() -> None:
    assert [human_seconds(s) for s in (0.2, 59.4, 61, 3_600, 90_061)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "1 h 00 min",
        "1 d 01 h",
    ]
    assert [in_bytes(b) for b in (12, 4_200, 371e9, 2e15)] == [
        "12 B",
        "4.2 kB",
        "371.0 GB",
        "2000.0 TB",
    ]
