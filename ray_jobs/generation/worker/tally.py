"""What a shard costs a worker, and what it brings: seconds by stage, volumes, bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Stage(StrEnum):
    """Where a shard's seconds go. `COMPRESS` and `UPLOAD` are summed over writer threads."""

    DRAW = "draw"  # noise to voxels: the device's work, and the copy from it
    CHECK = "check"  # quality of each volume, on the host
    WAIT = "wait"  # the device stands still: every writer is busy
    COMPRESS = "compress"  # quantised levels to NIfTI bytes and their digest
    UPLOAD = "upload"
    COMMIT = "commit"  # the shard's Parquet part


@dataclass(kw_only=True)
class Tally:
    """What one shard has cost and brought so far; safe to add to from any thread.

    Attributes:
        host, device: of the worker.
        seconds: by stage.
        volumes, bytes: stored now, not by an earlier run.
        failed: samples without a volume.
        redraws: draws beyond the first.
    """

    host: str = ""
    device: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    volumes: int = 0
    bytes: int = 0
    failed: int = 0
    redraws: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Count the block's wall time to a stage, also where it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - started
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + took

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Count a manifest row that this shard has just made."""
        with self._lock:
            self.redraws += row["attempt"]
            if row["bytes"] is None:
                self.failed += 1
            else:
                self.volumes += 1
                self.bytes += row["bytes"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()
