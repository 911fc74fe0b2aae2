"""Joining a Ray cluster, or starting one on this machine, quietly."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray_jobs.errors import JobError

# Enough for what the jobs send through it; Ray's default of 30 % of memory is meant for more.
OBJECT_STORE_BYTES = 256 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What the cluster that was joined offers."""

    cpus: int
    gpus: int
    nodes: int


@contextmanager
def session(**options: Any) -> Iterator[Cluster]:
    """Join the cluster of `RAY_ADDRESS` (set by `ray job submit`), else start a local Ray.

    The local one has no dashboard, a small object store, and ends with the block.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield _offer()
        return
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if "RAY_ADDRESS" not in os.environ:
        settings |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        ray.init(**(settings | options))
    except Exception as error:  # Ray raises bare Exception, ConnectionError and RuntimeError here
        where = os.environ.get("RAY_ADDRESS")
        what = f"cannot join the Ray cluster at {where}" if where else "cannot start Ray here"
        raise JobError(f"{what}: {str(error).splitlines()[0]}", exit_code=1) from error
    try:
        yield _offer()
    finally:
        ray.shutdown()


def _offer() -> Cluster:
    import ray

    resources = ray.cluster_resources()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return Cluster(
        cpus=int(resources.get("CPU", 1)), gpus=int(resources.get("GPU", 0)), nodes=len(nodes)
    )


def quiet_ray_data() -> None:
    """No progress bars, no execution plans on the terminal: the jobs say what matters."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.ERROR)
