"""The simulators' command line: many seeds on several processes, and what happened in them."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

# (first seed, how many) -> what happened in them, and the steps
Many = Callable[[int, int], tuple[Counter[str], int]]


class Ran(NamedTuple):
    """How many schedules ran, in how many steps, in how many seconds on how many processes."""

    schedules: int
    steps: int
    seconds: float
    processes: int


def run(many: Many, description: str | None, *, chunk: int) -> Ran:
    """Run the seeds that the command line asks for, `chunk` at a time, and print what happened."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    started, steps = time.monotonic(), 0
    total: Counter[str] = Counter()
    firsts = range(args.first_seed, args.first_seed + args.schedules, chunk)
    left = [min(chunk, args.first_seed + args.schedules - first) for first in firsts]
    with ProcessPoolExecutor(args.processes) as pool:
        for faults, taken in pool.map(many, firsts, left):
            total += faults
            steps += taken
    seconds = time.monotonic() - started
    for kind, count in sorted(total.items()):
        print(f"{count:>11,}  {kind}")
    return Ran(args.schedules, steps, seconds, args.processes)
