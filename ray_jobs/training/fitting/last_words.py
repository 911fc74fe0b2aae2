"""What a worker that failed had written to its log, kept in the run's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ray_jobs.work_folder import WorkFolder

FOLDER = "failures"
PATIENCE_SECONDS = 10.0
MOST_BYTES = 64 * 1024
SHOWN_LINES = 5

Where = tuple[str, str]  # a node's id, and the path of the log there


def own() -> Where:
    """Where this worker's log is; Ray makes its standard error one."""
    import ray

    log = ""
    with suppress(OSError):  # of a system without /proc
        log = str(Path("/proc/self/fd/2").readlink())
    return ray.get_runtime_context().get_node_id(), log


def keep(out: WorkFolder, told: Mapping[int, str], where: Mapping[int, Where]) -> list[str]:
    """Write a file for each worker that failed: why, and the end of its log.

    Args:
        told: the errors of those that failed, by rank.
        where: of all workers of that group.

    Returns:
        What to say of it: the last lines of each, where there are any, and the file.
    """
    lines = []
    (out.path / FOLDER).mkdir(exist_ok=True)
    for rank, error in told.items():
        log = _tail(where[rank]) if rank in where else ""
        key = f"{FOLDER}/worker-{rank}-{len(out.keys(f'{FOLDER}/'))}.log"
        (out.path / key).write_text(f"{error}\n\n{log}")
        out.put(key)
        ends = [line for line in log.splitlines() if line.strip()][-SHOWN_LINES:]
        lines += [f"worker {rank} | {line}" for line in ends]
        lines.append(f"more of worker {rank}: {out / key}")
    return lines


def _tail(where: Where) -> str:
    """The end of a log on its machine; empty where that is gone."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node, log = where
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    read = ray.remote(_end_of).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
    try:
        text: str = ray.get(read.remote(log), timeout=PATIENCE_SECONDS)
    except RayError:
        return ""
    return text


def _end_of(log: str) -> str:
    with suppress(OSError), Path(log).open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - MOST_BYTES))
        return stream.read().decode(errors="replace")
    return ""
