"""What a run asks of the Ray it uses: a device and workers."""

from __future__ import annotations

import os
from typing import Any

from ray_jobs import cluster
from ray_jobs.cluster import Cluster
from ray_jobs.errors import JobError
from ray_jobs.generation.options import Device, Options

# Ray passes only small messages here.
OBJECT_STORE_BYTES = 80 * 1024**2


def connect(options: Options) -> Cluster:
    """Join the Ray that is there, else start one on this machine for what `options` ask.

    Raises:
        JobError: the cluster does not answer.
    """
    return cluster.connect(
        # More workers than cores were asked for: Ray must believe in as many.
        num_cpus=None if not options.actors else max(options.actors, os.cpu_count() or 1),
        num_gpus=0 if options.device is Device.CPU else None,
        object_store_memory=OBJECT_STORE_BYTES,
    )


def device_of(found: Cluster, asked: Device | None) -> Device:
    """The device to compute on.

    Raises:
        JobError: CUDA was asked for and this machine has no GPU.
    """
    if asked is Device.CUDA and found.own and not found.gpus:
        raise JobError("--device cuda: this machine has no GPU that Ray can see")
    return asked or (Device.CUDA if found.gpus else Device.CPU)


def workers_of(found: Cluster, options: Options, device: Device) -> int:
    """How many workers to keep: as asked, else one for each GPU share or each core.

    Raises:
        JobError: the cluster has nothing to run one on, and none were asked for.
    """
    if options.actors is not None:
        return options.actors
    room = int(found.gpus / options.gpus_per_actor) if device is Device.CUDA else found.cpus
    if room < 1:
        what = "GPU" if device is Device.CUDA else "CPU"
        raise JobError(
            f"the Ray cluster offers no {what} now ({found.cpus} CPUs, {found.gpus:g} GPUs on "
            f"{found.nodes} machines): if more machines will join, say how many workers to "
            "wait for with --actors, and --device"
        )
    return room


def actor_options(options: Options, device: Device) -> dict[str, Any]:
    """What a worker reserves of the cluster; the policy replaces the dead, not Ray."""
    gpus = options.gpus_per_actor if device is Device.CUDA else 0
    return {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
