"""Options, sizes, the plan's fields, batches, and the dry run's arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm.diffusion.config import Sampler
from manifests.numbers import human_seconds
from ray_jobs.errors import JobError
from ray_jobs.generation.estimate import Measured, estimate, in_bytes
from ray_jobs.generation.plan import Device, Options, batches, fingerprint, plan_fields, sizes


def options(**changes: Any) -> Options:
    return Options(**{"n": 16, "out": "release", **changes})


def fields(**changes: Any) -> dict[str, Any]:
    given = {
        "model_name": "demo",
        "model_fingerprint": "f" * 64,
        "schema_fingerprint": "s" * 64,
        "covariates": "cohort",
        "fixed": {},
        "device": Device.CPU,
        "precision": "float32",
        "batch_size": 4,
        "shard_size": 8,
    }
    ours = {name: value for name, value in changes.items() if name in given}
    theirs = {name: value for name, value in changes.items() if name not in given}
    return plan_fields(options(**theirs), **{**given, **ours})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "--n 0: expected at least 1"),
        ({"n": -5}, "--n -5: expected at least 1"),
        ({"steps": 0}, "--steps 0: expected at least 1"),
        ({"batch_size": 0}, "--batch-size 0: expected at least 1"),
        ({"actors": -1}, "--actors -1: expected at least 1"),
        ({"seed": -1}, "--seed -1: expected 0 to 2\\^63 - 1"),
        ({"gpus_per_actor": 1.5}, "--gpus-per-actor 1.5: expected a share"),
        ({"gpus_per_actor": float("nan")}, "--gpus-per-actor nan: expected a share"),
    ],
)
def test_a_bad_option_says_what_was_found_and_what_was_expected(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobError, match=message) as caught:
        options(**change)
    assert caught.value.exit_code == 2


def test_sizes_left_out_are_the_devices_defaults() -> None:
    assert sizes(options(), Device.CPU, None) == (4, 8)
    assert sizes(options(), Device.CUDA, None) == (8, 64)


def test_one_size_given_fits_the_other_to_it() -> None:
    assert sizes(options(batch_size=3), Device.CPU, None) == (3, 6)
    assert sizes(options(batch_size=20), Device.CPU, None) == (20, 20)
    assert sizes(options(), Device.CPU, None, voxels=160 * 224 * 160) == (1, 8)
    assert sizes(options(shard_size=6), Device.CPU, None, voxels=160 * 224 * 160) == (1, 6)
    assert sizes(options(), Device.CUDA, None, voxels=160 * 224 * 160) == (8, 64)
    assert sizes(options(shard_size=6), Device.CPU, None) == (3, 6)
    assert sizes(options(shard_size=7), Device.CPU, None) == (1, 7)


def test_a_shard_of_broken_batches_is_refused_with_a_size_that_fits() -> None:
    with pytest.raises(JobError, match="whole batches; expected a multiple, such as 8"):
        options(shard_size=7, batch_size=4)


def test_sizes_left_out_on_resume_are_those_of_the_stored_plan() -> None:
    stored = {"batch_size": 5, "shard_size": 35}
    assert sizes(options(), Device.CPU, stored) == (5, 35)
    assert sizes(options(batch_size=4), Device.CPU, stored) == (4, 35)


def test_the_fingerprint_changes_with_everything_that_changes_bytes() -> None:
    changes: list[dict[str, Any]] = [
        {"model_fingerprint": "0" * 64},
        {"sampler": Sampler.DDPM},
        {"steps": 20},
        {"seed": 1},
        {"covariates": "uniform"},
        {"fixed": {"age": 70.0}},
        {"attempts": 1},
        {"device": Device.CUDA},
        {"precision": "bfloat16"},
        {"batch_size": 8},
        {"shard_size": 16},
    ]
    seen = {fingerprint(fields(**change)) for change in [{}, *changes]}
    assert len(seen) == len(changes) + 1


def test_the_fingerprint_says_nothing_of_how_many_or_by_whom() -> None:
    same: list[dict[str, Any]] = [
        {"n": 1000},
        {"actors": 7},
        {"writers": 3},
        {"gpus_per_actor": 0.5},
        {"out": "s3://b/x"},
    ]
    assert {fingerprint(fields(**change)) for change in same} == {fingerprint(fields())}


@given(start=st.integers(0, 500), count=st.integers(1, 200), size=st.integers(1, 17))
def test_batches_are_full_cut_at_fixed_boundaries_and_cover_every_index(
    start: int, count: int, size: int
) -> None:
    indices = range(start, start + count)
    cut = batches(indices, size)
    assert all(len(batch) == size and batch.start % size == 0 for batch in cut)
    covered = [index for batch in cut for index in batch]
    assert covered == list(range(covered[0], covered[0] + len(covered)))
    assert set(indices) <= set(covered)
    assert len(covered) < count + 2 * size


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
