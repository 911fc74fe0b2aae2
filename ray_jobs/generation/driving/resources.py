"""What a run asks of the Ray it uses: a device and workers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ray_jobs import cluster
from ray_jobs.cluster import Cluster
from ray_jobs.errors import JobError
from ray_jobs.generation.options import Device, Options

# Ray passes only small messages here.
OBJECT_STORE_BYTES = 80 * 1024**2
ACCELERATOR = "accelerator_type:"  # Ray's resource of a machine's kind of GPU


def connect(options: Options) -> Cluster:
    """Join the Ray that is there, else start one on this machine for what `options` ask.

    Raises:
        JobError: the cluster does not answer, or has no GPU of the type that is asked for.
    """
    found = cluster.connect(
        # More workers than cores were asked for: Ray must believe in as many.
        num_cpus=None if not options.actors else max(options.actors, os.cpu_count() or 1),
        num_gpus=0 if options.device is Device.CPU else None,
        object_store_memory=OBJECT_STORE_BYTES,
    )
    import ray

    return offered(found, gpus_by_kind(ray.nodes()), options, to_come=gpus_to_come())


def gpus_by_kind(machines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """How many GPUs of each kind living machines have, by Ray's name; "" where it knows none.

    Args:
        machines: as `ray.nodes` tells of them.
    """
    found: dict[str, float] = {}
    for machine in machines:
        has = machine["Resources"] if machine["Alive"] else {}
        kind = next((name for name in has if name.startswith(ACCELERATOR)), ACCELERATOR)
        if has.get("GPU"):
            name = kind.removeprefix(ACCELERATOR)
            found[name] = found.get(name, 0.0) + has["GPU"]
    return found


def offered(
    found: Cluster, kinds: Mapping[str, float], options: Options, *, to_come: float = 0.0
) -> Cluster:
    """The cluster as a run may count on it: its GPUs of `--accelerator-type` alone; where it has
    none yet, those that its autoscaler may bring.

    Args:
        kinds: its GPUs, as of `gpus_by_kind`.
        to_come: as of `gpus_to_come`.

    Raises:
        JobError: it has none of that type, and nobody waits for machines to come.
    """
    wanted = options.accelerator_type
    if wanted is None:
        return replace(found, gpus=found.gpus or to_come)
    if not kinds.get(wanted) and options.actors is None:
        there = ", ".join(sorted(filter(None, kinds))) or "no type that Ray has a name for"
        raise JobError(
            f"--accelerator-type {wanted}: the cluster's GPUs are of {there}; give one of these, "
            "or say with --actors how many workers shall wait for machines to come"
        )
    return replace(found, gpus=kinds.get(wanted, 0.0))


def kinds_told(kinds: Mapping[str, float], options: Options) -> str:
    """The line about GPUs of several kinds, of which any may be used; empty where they are one."""
    if len(kinds) < 2 or options.accelerator_type is not None:
        return ""
    some = ", ".join(f"{count:g} of {name or 'no name'}" for name, count in sorted(kinds.items()))
    named = max(filter(None, kinds), key=lambda name: kinds[name])
    return (
        f"the cluster has GPUs of several kinds ({some}), and an image's bytes are the same within "
        f"one kind alone: --accelerator-type {named} takes one; else column made_on tells which "
        "made each"
    )


def gpus_to_come() -> float:
    """GPUs that the cluster's autoscaler may bring; 0 where there is none, or it does not tell.

    Ray has no public name for it.
    """
    try:
        from ray._private.state import state

        most = state.get_max_resources_from_cluster_config() or {}
    except Exception:
        return 0.0
    return float(most.get("GPU", 0))


def device_of(found: Cluster, asked: Device | None) -> Device:
    """The device to compute on; a plan keeps it for good.

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
    reserve: dict[str, Any] = {
        "num_cpus": 1,
        "num_gpus": gpus,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    if options.accelerator_type is not None:
        reserve["accelerator_type"] = options.accelerator_type
    return reserve
