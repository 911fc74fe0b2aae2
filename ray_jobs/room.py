"""Room for a job's workers on the machines of a cluster: reckoned a machine at a time, and waited
for where machines may still come."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manifests.numbers import counted
from ray_jobs.cluster import Cluster
from ray_jobs.errors import JobError

# Of a cluster to which no machine comes, and whose autoscaler starts none.
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Machine:
    """What one machine has, used or not."""

    cpus: int
    gpus: int = 0

    def slots(self, each: Machine) -> int:
        """How many workers fit on it that take `each`."""
        most = [self.cpus // each.cpus] if each.cpus else []
        most += [self.gpus // each.gpus] if each.gpus else []
        return min(most)

    def __str__(self) -> str:
        gpus = f" and {counted(self.gpus, 'GPU')}" if self.gpus else ""
        return f"{counted(self.cpus, 'CPU')}{gpus}"


@dataclass(frozen=True)
class Room:
    """The machines on which a job's workers have room.

    Attributes:
        machines: those that are there.
        grew: whether machines came while the job waited: more may come where they are asked for.
    """

    machines: tuple[Machine, ...]
    grew: bool = False

    def slots(self, each: Machine) -> int:
        """How many workers fit that take `each`."""
        return sum(machine.slots(each) for machine in self.machines)

    def share(self, workers: int, *, gpu: bool) -> int:
        """The most CPUs that each of so many workers can have, each on one machine; 0 for none."""
        most = max((machine.cpus for machine in self.machines), default=0)
        fits = (cpus for cpus in range(most, 0, -1) if self.slots(Machine(cpus, gpu)) >= workers)
        return next(fits, 0)


def room_for(workers: int, each: Machine, found: Cluster, *, asked: str) -> Room:
    """The room of a cluster, once `workers` that take `each` fit into it at the same time.

    Waits for machines that the cluster's autoscaler starts, or that join by themselves: without end
    while one is on its way, and for `PATIENCE_SECONDS` from the last sign of one.

    Args:
        found: the cluster; on one that is this machine alone nobody waits.
        asked: the options that ask for them, for the error.

    Raises:
        JobError: no room, and nothing comes (exit code 1).
    """
    room = Room(_machines())
    if room.slots(each) >= workers:
        return room
    if found.own:
        raise JobError(_no_room(workers, each, room, asked))
    asking = _Demand(workers, each)
    try:
        return wait(
            workers, each, asked, machines=_machines, coming=_coming, sleep=time.sleep, tell=_tell
        )
    finally:
        asking.withdraw()


def wait(
    workers: int,
    each: Machine,
    asked: str,
    *,
    machines: Callable[[], tuple[Machine, ...]],
    coming: Callable[[], int],
    sleep: Callable[[float], None],
    tell: Callable[[str], None],
) -> Room:
    """The room once the workers fit; what is waited for is told whenever it changes.

    Args:
        machines: those that are there now.
        coming: how many are on their way.

    Raises:
        JobError: nothing came, nor was on its way, for `PATIENCE_SECONDS`.
    """
    first = there = machines()
    left, told = PATIENCE_SECONDS, ""
    while True:
        room = Room(there, grew=there != first)
        if room.slots(each) >= workers:
            return room
        expected = coming()
        if expected:
            left = PATIENCE_SECONDS
            until = f"{counted(expected, 'machine')} on the way"
        else:
            until = f"for at most {PATIENCE_SECONDS:.0f} s from the last machine that comes"
        line = f"waiting for room: {_wanted(workers, each)}; {_offered(there)}; {until}"
        if line != told:
            tell(line)
            told = line
        if left <= 0:
            raise JobError(_no_room(workers, each, room, asked, waited=True), exit_code=1)
        sleep(POLL_SECONDS)
        left -= POLL_SECONDS
        now = machines()
        if now != there:
            there, left = now, PATIENCE_SECONDS


def _wanted(workers: int, each: Machine) -> str:
    return f"{counted(workers, 'worker')} of {each}{' each' if workers > 1 else ''}"


def _offered(machines: Sequence[Machine]) -> str:
    """`the cluster has 3 machines: 1 of no CPU, 2 of 2 CPUs and 1 GPU`"""
    kinds = [f"{machines.count(kind)} of {kind}" for kind in dict.fromkeys(machines)]
    return f"the cluster has {counted(len(machines), 'machine')}: {', '.join(kinds) or 'none'}"


def _no_room(workers: int, each: Machine, room: Room, asked: str, *, waited: bool = False) -> str:
    came = f", and none came in {PATIENCE_SECONDS:.0f} s" if waited else ""
    advice = "fewer workers, less for each, or more machines"
    return (
        f"{asked}: no room for {_wanted(workers, each)}, of which {room.slots(each)} fit; "
        f"{_offered(room.machines)}{came}. Give {advice}"
    )


def _machines() -> tuple[Machine, ...]:
    import ray

    found = (node["Resources"] for node in ray.nodes() if node["Alive"])
    machines = (Machine(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in found)
    return tuple(sorted(machines, key=lambda machine: (machine.gpus, machine.cpus)))


class _Demand:
    """A group of the workers' size that Ray cannot place yet, by which an autoscaler sees what is
    wanted; it goes with this process."""

    def __init__(self, workers: int, each: Machine) -> None:
        from ray.util import placement_group

        wanted = {"CPU": float(each.cpus), "GPU": float(each.gpus)}
        bundle = {name: amount for name, amount in wanted.items() if amount}
        self._group: Any = placement_group([bundle] * workers)

    def withdraw(self) -> None:
        from ray.util import remove_placement_group

        remove_placement_group(self._group)


def _coming() -> int:
    """Machines that the cluster's autoscaler has begun to start; 0 where there is none."""
    import ray
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    try:
        if is_autoscaler_v2():
            from ray.autoscaler.v2.sdk import get_cluster_status

            status = get_cluster_status(ray.get_runtime_context().gcs_address)
            starting = [launch.count for launch in status.pending_launches]
            return len(status.pending_nodes) + sum(starting)
        report = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or b"{}")
    except Exception:  # what an autoscaler says of itself is no part of Ray's promises
        return 0
    return pending_in(report)


def pending_in(report: Mapping[str, Any]) -> int:
    """Machines that are being started, of what Ray's first autoscaler writes of itself."""
    told = report.get("autoscaler_report") or {}
    launches: Iterable[int] = (told.get("pending_launches") or {}).values()
    return len(told.get("pending_nodes") or []) + sum(launches)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
