"""Sizes, the plan's fields and fingerprint, and batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ldm import noise
from ldm.covariates import PAPER_SCHEMA
from ldm.diffusion.config import Sampler, Sampling
from ldm.loading import describe
from manifests.format.extrapolation import is_extrapolated
from ray_jobs.generation.covariates import CovariateSource
from ray_jobs.generation.options import Device, Kind, Options
from ray_jobs.generation.plan import (
    EXTRAPOLATED,
    batches,
    calibration_in,
    fingerprint,
    kind_in,
    plan_fields,
    sizes,
)
from ray_jobs.generation.recipe import Recipe, settled
from ray_jobs.generation.start import check, fields_of
from ray_jobs.generation.worker.rows import covariate_columns


def options(**changes: Any) -> Options:
    return Options(**{"n": 16, "out": "release", **changes})


def fields(**changes: Any) -> dict[str, Any]:
    """The fields of a plan; the options are given as a user gives them."""
    plan = {
        "model_name": "demo",
        "model_fingerprint": "f" * 64,
        "device": Device.CPU,
        "precision": "float32",
        "shard_size": 8,
    }
    begun_on = changes.pop("begun_on", None)
    calibrated = changes.pop("calibrated", False)
    source = {"kind": "cohort", "schema": PAPER_SCHEMA, "fixed": {}}
    here = {name: value for name, value in changes.items() if name in source}
    pinned = {name: value for name, value in changes.items() if name in plan}
    size = changes.get("batch_size", 4)
    theirs = {name: value for name, value in changes.items() if name not in {**plan, **source}}
    asked = options(**{**theirs, "batch_size": None})
    distribution = describe("demo").distribution
    recipe = Recipe(
        seed=asked.seed,
        sampling=settled(asked, Sampling(), one_pass=False),
        attempts=asked.attempts,
        batch_size=size,
        source=CovariateSource(**{**source, **here}, distribution=distribution),
    )
    return plan_fields(recipe, **{**plan, **pinned}, kind=begun_on, calibrated=calibrated)


def test_a_plan_keeps_the_kind_that_it_was_begun_on_and_an_older_one_none() -> None:
    kind = Kind(accelerator="NVIDIA A100-SXM4-80GB", torch="2.9.1")
    assert kind_in(fields(begun_on=kind)) == kind
    assert str(kind) == "NVIDIA A100-SXM4-80GB, torch 2.9.1"
    assert kind_in(fields()) is None
    assert fingerprint(fields(begun_on=kind)) != fingerprint(fields())


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
        {"kind": "uniform"},
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


def test_rows_are_extrapolated_by_what_is_told_unless_the_release_was_begun_before() -> None:
    """A release begun by an earlier brainpress goes on by the rule that it was begun with."""
    calibration = describe("demo").calibration
    assert calibration.planes
    new, before = fields(calibrated=True), fields()
    assert calibration_in(new, calibration) is calibration
    assert calibration_in(before, calibration) is None
    assert fingerprint(new) != fingerprint(before)


def test_the_same_command_goes_on_with_an_earlier_release_as_it_was_begun(tmp_path: Path) -> None:
    request = check(options(out=str(tmp_path / "release"), model="demo"))
    begun = fields_of(request, device=Device.CPU)
    assert begun[EXTRAPOLATED] == "asked or told"
    earlier = {name: value for name, value in begun.items() if name != EXTRAPOLATED}
    assert fields_of(replace(request, stored=earlier), device=Device.CPU) == earlier
    assert fields_of(replace(request, stored=begun), device=Device.CPU) == begun


def test_an_ordinary_draw_of_the_demo_model_that_is_told_beyond_is_marked() -> None:
    """About one in fifteen: `noise` tells the same draws everywhere."""
    description = describe("demo")
    schema, calibration = description.schema, description.calibration
    new, before = covariate_columns(schema, calibration), covariate_columns(schema)
    draws = [
        description.distribution.sample(noise.generator(noise.COVARIATES, 0, index))
        for index in range(400)
    ]
    told = np.array([calibration.conditions(schema, draw) for draw in draws])
    beyond = ((told < 0) | (told > 1)).any(axis=1)
    assert 0.03 < beyond.mean() < 0.11
    assert [is_extrapolated(new, draw) for draw in draws] == beyond.tolist()
    assert not any(is_extrapolated(before, draw) for draw in draws)
