"""`brainpress generate` with a poison sample: the worker that draws it is killed at once.

POISON=13 python -m tests.faults.poisoned_generate --n 48 ...
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import ray_jobs.generation.driving.actors as actors
from ray_jobs.generation.worker.drawing import Draw
from ray_jobs.generation.worker.tally import Tally
from ray_jobs.generation.worker.worker import Worker


class PoisonedWorker(Worker):
    """A worker that one sample kills, as a fault in a driver or in memory would."""

    def _keep(self, draw: Draw, shard: int, tally: Tally) -> dict[str, Any]:
        if draw.index == int(os.environ["POISON"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._keep(draw, shard, tally)


if __name__ == "__main__":
    from ray_jobs.cli import main
    from tests.faults import poisoned_generate  # importable by workers, unlike __main__

    actors.kind_of_worker = lambda told: poisoned_generate.PoisonedWorker
    raise SystemExit(main(["generate", *sys.argv[1:]]))
