"""`brainpress generate` on GPUs that Ray believes in, some of them wrong; computes on the CPU.

    python -m tests.faults.wrong_devices --n 48 ... --device cuda --precision fp32

What is wrong with which stands in `wrong.json` beside the release, or in the folder `WRONG_FOLDER`
where that is in a bucket: `{"0": "no numbers"}`, by the number of a GPU, or of a machine and a GPU,
"1/0", or of a machine alone, "0/CPU". It is read before each batch. Where a device is wrong once, a
file there keeps that it was.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ray_jobs.generation.driving.actors as actors
from ldm.volumes.conversion import NOT_FINITE
from ray_jobs.generation.worker.assignment import Assignment
from ray_jobs.generation.worker.environment import Place, prepare_process
from ray_jobs.generation.worker.worker import Worker

WRONG_JSON = "wrong.json"


class WrongWorker(Worker):
    """A worker whose device does what the file says."""

    def __init__(
        self,
        assignment: Assignment,
        environment: Mapping[str, str],
        locate: Callable[[str], Place],
    ) -> None:
        super().__init__(assignment, environment, locate)
        prepare_process("cpu", {})
        self.assignment = replace(assignment, device="cpu")
        self._folder = Path(os.environ.get("WRONG_FOLDER") or Path(assignment.out).parent)

    @property
    def _wrong(self) -> str:
        told = json.loads((self._folder / WRONG_JSON).read_text())
        device = self._place.device.removeprefix("GPU ")
        machine = os.environ.get("MACHINE", "0")
        kind: str = told.get(f"{machine}/{device}", told.get(device, ""))
        return kind

    def load(self) -> str | None:
        if self._wrong == "cannot load":
            raise RuntimeError("CUDA error: device unavailable")
        if self._wrong == "damaged model":
            return "model tiny: its weights do not match their digest"
        refusal = super().load()
        generate = self._model.generate  # type: ignore[union-attr]

        def wrongly(*args: Any, **options: Any) -> np.ndarray:
            volumes: np.ndarray = generate(*args, **options)
            return self._spoil(volumes)

        self._model.generate = wrongly  # type: ignore[union-attr, method-assign]
        return refusal

    def _spoil(self, volumes: np.ndarray) -> np.ndarray:
        match self._wrong:
            case "no numbers":
                volumes[:] = NOT_FINITE
            case "no numbers once" if self._first_time():
                volumes[:, 0] = NOT_FINITE
            case "raises":
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            case "out of memory":
                raise MemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            case "hangs":
                time.sleep(10**6)
            case "slow":
                time.sleep(1.0)
        return volumes

    def _first_time(self) -> bool:
        try:
            (self._folder / "once").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


if __name__ == "__main__":
    from ray_jobs.cli import main
    from tests.faults import wrong_devices  # importable by workers, unlike __main__

    actors.kind_of_worker = lambda told: wrong_devices.WrongWorker
    raise SystemExit(main(["generate", *sys.argv[1:]]))
