"""What a run asks of a cluster: a device and workers."""

from __future__ import annotations

import json

import pytest

from ray_jobs.cluster import Cluster
from ray_jobs.credentials import aws_environment
from ray_jobs.errors import JobError
from ray_jobs.generation.driving.resources import (
    device_of,
    gpus_by_kind,
    kinds_told,
    offered,
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


def machine(kind: str = "", *, gpus: float = 2.0, alive: bool = True) -> dict[str, object]:
    named = {f"accelerator_type:{kind}": 1.0} if kind else {}
    return {"Alive": alive, "Resources": {"CPU": 4.0, "GPU": gpus, **named}}


def test_gpus_of_several_kinds_are_told_and_one_kind_can_be_taken() -> None:
    kinds = gpus_by_kind([machine("A100"), machine("T4"), machine("A100"), machine(alive=False)])
    assert kinds == {"A100": 4.0, "T4": 2.0}
    line = kinds_told(kinds, options())
    assert "(4 of A100, 2 of T4)" in line
    assert "--accelerator-type A100" in line
    assert kinds_told({"A100": 4.0}, options()) == ""
    chosen = options(accelerator_type="T4")
    assert kinds_told(kinds, chosen) == ""
    found = offered(cluster(gpus=6.0), kinds, chosen)
    assert workers_of(found, chosen, device_of(found, None)) == 2
    with pytest.raises(JobError, match="the cluster's GPUs are of A100, T4; give one of these"):
        offered(cluster(), kinds, options(accelerator_type="H100"))
    waiting = options(accelerator_type="H100", actors=3)
    assert workers_of(offered(cluster(), kinds, waiting), waiting, Device.CUDA) == 3


def test_a_release_begun_before_its_autoscaler_brought_a_gpu_is_not_pinned_to_the_cpu() -> None:
    coming = offered(cluster(gpus=0.0), {}, options(), to_come=8.0)
    assert device_of(coming, None) is Device.CUDA
    assert workers_of(coming, options(), Device.CUDA) == 8
    assert device_of(coming, Device.CPU) is Device.CPU
    there = offered(cluster(gpus=2.0), {}, options(), to_come=8.0)
    assert workers_of(there, options(), Device.CUDA) == 2


def test_only_aws_settings_travel_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("GITHUB_TOKEN", "hush")
    found = aws_environment()
    assert found["AWS_REGION"] == "eu-west-1"
    assert "hush" not in json.dumps(found)
