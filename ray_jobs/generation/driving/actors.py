"""Starting workers on Ray and hearing from them."""

from __future__ import annotations

import math
import socket
import sys
from collections.abc import Collection, Mapping
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from ray_jobs.credentials import Secrets
from ray_jobs.errors import JobError
from ray_jobs.generation.driving.resources import ACCELERATOR
from ray_jobs.generation.worker.again import kind_of_worker
from ray_jobs.generation.worker.assignment import Assignment
from ray_jobs.generation.worker.environment import Native, Place, native

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 20.0
LITTLE = 0.001  # what Ray takes of a machine's accelerator type for each worker
# Ray's decorators make types that mypy cannot follow.
_remote: Any = ray.remote


def start_worker(
    assignment: Assignment,
    *,
    reserve: Mapping[str, Any],
    environment: Mapping[str, str],
    in_hand: int = 1,
) -> Any:
    """A worker's actor: a thread for each shard in hand, and one that answers how far they are.

    The environment travels as an argument and not in the runtime environment, which Ray writes
    into its logs and shows on its dashboard.
    """
    groups = {"work": in_hand, "watch": 1}
    actor = _remote(concurrency_groups=groups, **reserve)(kind_of_worker(assignment))
    return actor.remote(assignment, Secrets(environment), place_of_actor)


def place_of_actor(device: str) -> Place:
    """The place of the actor that asks, by Ray's names.

    Args:
        device: "cpu" or "cuda", what it computes on.
    """
    context = ray.get_runtime_context()
    gpus = context.get_accelerator_ids().get("GPU") or ["0"]
    name = "CPU" if device == "cpu" else f"GPU {'+'.join(map(str, gpus))}"
    return Place(node=context.get_node_id(), host=socket.gethostname(), device=name)


def answer(ref: Any) -> Any:
    """What comes back at `ref`; a signal ends the wait.

    Raises:
        JobError: the worker was lost, or failed.
    """
    waited = 0.0
    while not ray.wait([ref], timeout=POLL_SECONDS)[0]:
        waited += POLL_SECONDS
        if waited == PATIENCE_SECONDS:
            print("waiting for the cluster to start a worker ...", file=sys.stderr, flush=True)
    try:
        return ray.get(ref)
    except RayError as error:
        raise JobError(in_one_line(error), exit_code=1) from error


def look_at_device(
    device: str, reserve: Mapping[str, Any], environment: Mapping[str, str], *, compiling: bool
) -> Native:
    """What a worker's device offers, found out on a machine where a worker can run."""
    share = {name: reserve[name] for name in reserve if not name.startswith("max_")}
    task = _remote(max_retries=2, **share)(native)
    found: Native = answer(task.remote(device, Secrets(environment), compiling=compiling))
    return found


def room_for(reserve: Mapping[str, Any], *, without: Collection[str] = ()) -> tuple[int, int]:
    """How many workers the living machines of the cluster can hold, if nobody else is there, and
    on how many devices: GPUs, or the CPUs of a machine.

    Args:
        reserve: what each worker reserves.
        without: nodes that are left out.
    """
    wanted = {"CPU": reserve["num_cpus"], "GPU": reserve["num_gpus"]}
    if "accelerator_type" in reserve:
        wanted[ACCELERATOR + reserve["accelerator_type"]] = LITTLE
    room = devices = 0
    for node in ray.nodes():
        has = node["Resources"] if node["Alive"] and node["NodeID"] not in without else {}
        here = int(min(has.get(kind, 0) / count for kind, count in wanted.items() if count))
        room += here
        if here:
            each = max(1, math.ceil(wanted["GPU"]))  # GPUs that a worker's place is made of
            devices += min(here, int(has["GPU"]) // each) if wanted["GPU"] else 1
    return room, devices


def draining() -> dict[str, float]:
    """The nodes that Ray drains (a spot notice, a pod that goes), and when each will be gone: Unix
    seconds; 0 where nobody knows.

    Ray has no public name for it; this is what its own Train asks. Where it is not there, nobody
    drains.
    """
    try:
        from ray._private.state import state

        found: dict[str, int] = state.get_draining_nodes()
        return {node: milliseconds / 1000 for node, milliseconds in found.items()}
    except Exception:
        return {}


def went_with_its_machine(error: RayError, place: Place | None) -> bool:
    """Whether a worker was lost because its machine was."""
    if place is None or not isinstance(error, RayActorError):
        return False
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return place.node not in alive or error.preempted


def in_one_line(error: BaseException) -> str:
    """The reason inside an error of Ray's, without the traceback that Ray puts into it."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        cause = error.cause
        first = next(iter(str(cause).strip().splitlines()), "")
        own = isinstance(getattr(cause, "exit_code", None), int)
        return first if own else f"{type(cause).__name__}: {first}".rstrip(": ")
    if isinstance(error, RayActorError):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        told = [line for line in lines if "died" in line or "killed" in line or "OOM" in line]
        return f"worker lost ({(told or lines or ['no reason given'])[0][:200]})"
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
