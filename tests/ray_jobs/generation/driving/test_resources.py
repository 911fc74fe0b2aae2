"""What a run asks of a cluster: a device and workers."""

from __future__ import annotations

import json

import pytest

from ray_jobs.cluster import Cluster
from ray_jobs.credentials import aws_environment
from ray_jobs.errors import JobError
from ray_jobs.generation.driving.resources import (
    device_of,
    workers_of,
)
from ray_jobs.generation.options import Device, Options


def cluster(**changes: float) -> Cluster:
    return Cluster(**{"own": False, "nodes": 1, "cpus": 8, "gpus": 2.0, **changes})  # type: ignore[arg-type]


def options(**changes: object) -> Options:
    return Options(**{"n": 4, "out": "out", **changes})  # type: ignore[arg-type]


def test_gpus_are_used_where_there_are_any_and_workers_fill_them() -> None:
    assert device_of(cluster(), None) is Device.CUDA
    assert device_of(cluster(gpus=0), None) is Device.CPU
    assert device_of(cluster(), Device.CPU) is Device.CPU
    assert workers_of(cluster(), options(), Device.CUDA) == 2
    assert workers_of(cluster(), options(gpus_per_actor=0.5), Device.CUDA) == 4
    assert workers_of(cluster(), options(), Device.CPU) == 8
    assert workers_of(cluster(), options(actors=64), Device.CUDA) == 64


def test_cuda_on_a_machine_without_gpu_is_refused() -> None:
    with pytest.raises(JobError, match="this machine has no GPU"):
        device_of(cluster(own=True, gpus=0), Device.CUDA)
    assert device_of(cluster(own=False, gpus=0), Device.CUDA) is Device.CUDA  # one may still join


def test_a_cluster_that_offers_nothing_yet_needs_to_be_told_how_many_to_wait_for() -> None:
    with pytest.raises(JobError, match="how many workers to wait for with --actors"):
        workers_of(cluster(cpus=0, gpus=0), options(), Device.CPU)


def test_only_aws_settings_travel_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("GITHUB_TOKEN", "hush")
    found = aws_environment()
    assert found["AWS_REGION"] == "eu-west-1"
    assert "hush" not in json.dumps(found)
