"""The Ray that a run uses: the cluster it was sent to, or a small one of its own."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_jobs.cluster import joins
from ray_jobs.errors import JobError
from ray_jobs.generation.plan import Device, Options

# Ray passes only small messages here: volumes go from a worker straight to the store.
OBJECT_STORE_BYTES = 80 * 1024**2
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # The paragraph that Ray prints for every lost worker; the driver tells it in a line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
UNREACHED = (
    "; is it running? One that `ray start` began asks for a token: set RAY_AUTH_MODE=token. "
    "RAY_ADDRESS=local uses this machine alone"
)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What Ray offers.

    Attributes:
        own: whether it was started for this run, on this machine alone.
        nodes: living machines.
        cpus, gpus: of all of them.
    """

    own: bool
    nodes: int
    cpus: int
    gpus: float

    def device(self, asked: Device | None) -> Device:
        """The device to compute on.

        Raises:
            JobError: CUDA was asked for and this machine has no GPU.
        """
        if asked is Device.CUDA and self.own and not self.gpus:
            raise JobError("--device cuda: this machine has no GPU that Ray can see")
        return asked or (Device.CUDA if self.gpus else Device.CPU)

    def actors(self, options: Options, device: Device) -> int:
        """How many workers to keep: as asked, else one for each GPU share or each core.

        Raises:
            JobError: the cluster has nothing to run one on, and none were asked for.
        """
        if options.actors is not None:
            return options.actors
        found = int(self.gpus / options.gpus_per_actor) if device is Device.CUDA else self.cpus
        if found < 1:
            what = "GPU" if device is Device.CUDA else "CPU"
            raise JobError(
                f"the Ray cluster offers no {what} now ({self.cpus} CPUs, {self.gpus:g} GPUs on "
                f"{self.nodes} machines): if more machines will join, say how many workers to "
                "wait for with --actors, and --device"
            )
        return found


def actor_options(options: Options, device: Device) -> dict[str, Any]:
    """What a worker reserves of the cluster; the policy replaces the dead, not Ray."""
    gpus = options.gpus_per_actor if device is Device.CUDA else 0
    return {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}


def connect(options: Options) -> Cluster:
    """Join the Ray that RAY_ADDRESS names or that `ray start` began here, else start one.

    Raises:
        JobError: the cluster does not answer.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    own = not joins()
    where = "this machine" if own else os.environ.get("RAY_ADDRESS") or "the one begun here"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if own:
        quiet |= {
            "address": "local",
            # More workers than cores were asked for: Ray must believe in as many.
            "num_cpus": None if not options.actors else max(options.actors, os.cpu_count() or 1),
            "num_gpus": 0 if options.device is Device.CPU else None,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        ray.init(**quiet)
    except Exception as error:  # Ray raises many kinds, down to Exception itself
        reason = str(error).strip().splitlines()[0]
        hint = "" if own else UNREACHED
        raise JobError(f"Ray on {where}: {reason}{hint}", exit_code=1) from error
    resources = ray.cluster_resources()
    return Cluster(
        own=own,
        nodes=sum(node["Alive"] for node in ray.nodes()),
        cpus=int(resources.get("CPU", 0)),
        gpus=resources.get("GPU", 0.0),
    )


def refuse_scattered(out: str, cluster: Cluster) -> None:
    """A folder is one machine's: refuse it where workers may be on several.

    Raises:
        JobError: the cluster has more than one machine.
    """
    if cluster.nodes > 1:
        raise JobError(
            f"--out {out} is a folder, and this Ray cluster has {cluster.nodes} machines, each of "
            "which would write to its own disk: give an s3:// URI, or use one machine "
            "(RAY_ADDRESS=local)"
        )


def refuse_fleeting(out: str) -> None:
    """A relative folder inside Ray's own copy of the working directory goes when the job goes.

    Raises:
        JobError: the run is a job with `--working-dir`, and `out` is relative.
    """
    inside = "runtime_resources" in Path.cwd().parts
    if inside and "://" not in out and not Path(out).expanduser().is_absolute():
        raise JobError(
            f"--out {out} would lie in Ray's temporary copy of the working directory: give an "
            "absolute path or an s3:// URI"
        )


def aws_environment() -> dict[str, str]:
    """This process's AWS settings, which workers on other machines do not inherit."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
