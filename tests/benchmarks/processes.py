"""Memory and processor time of a running job's processes, by what they do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.running import descendants

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY_SECONDS = 2.0


@dataclass(kw_only=True)
class Samples:
    """What was seen: for each role, (seconds since the start, resident bytes of each process)."""

    seen: dict[str, list[tuple[float, list[int]]]] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def thirds(self, role: str, until: float) -> tuple[float, float, float]:
        """The largest process of a role, in bytes: mean of the first third of its time, of the
        last, and the most ever. Time counts from its first sample to `until`."""
        sizes = [(at, max(each)) for at, each in self.seen.get(role, []) if each]
        before = [(at, size) for at, size in sizes if at <= until]
        span = (before[-1][0] - before[0][0]) / 3
        first = [size for at, size in before if at <= before[0][0] + span]
        last = [size for at, size in before if at >= before[-1][0] - span]
        return mean(first), mean(last), max(size for _, size in sizes)


@contextmanager
def watched(roots: dict[str, int]) -> Iterator[Samples]:
    """Sample the processes below `roots` (role of each root itself, process id) for the block."""
    samples, over, started = Samples(), threading.Event(), time.monotonic()
    last_cpu: dict[int, tuple[str, float]] = {}

    def look() -> None:
        by_role: dict[str, list[int]] = {}
        for name, root in roots.items():
            for pid in [root, *descendants(root)]:
                try:
                    role = name if pid == root else _role(pid)
                    size = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                last_cpu[pid] = (role, (int(fields[11]) + int(fields[12])) / TICKS)
                by_role.setdefault(role, []).append(size)
        at = time.monotonic() - started
        for role, sizes in by_role.items():
            samples.seen.setdefault(role, []).append((at, sizes))

    def watch() -> None:
        while not over.wait(EVERY_SECONDS):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    look()
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()
        look()
        for role, seconds in last_cpu.values():
            samples.cpu_seconds[role] = samples.cpu_seconds.get(role, 0.0) + seconds


def mean(values: list[int]) -> float:
    return sum(values) / len(values)


def _role(pid: int) -> str:
    line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if line.startswith("ray::"):
        return "worker" if "Worker" in line else "idle Ray worker"
    for word in ("gcs_server", "raylet", "weed"):
        if word in line.split(" ")[0]:
            return word
    return "other of Ray"
