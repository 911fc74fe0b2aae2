"""What a worker's process does before its work: it takes the user's AWS settings, and makes sure
that the folder of --out is the driver's."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from manifests.errors import ReleaseError
from manifests.storage import open_to_write
from ray_jobs.cluster import Cluster
from ray_jobs.credentials import aws_environment
from ray_jobs.errors import JobError
from ray_jobs.reach import Note


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Called in a worker's process, before anything else there.

    Attributes:
        environment: variables of the driver's.
        out: the folder or address of --out.
        note: what the driver left there; None where all is on one machine.
    """

    environment: Mapping[str, str]
    out: str
    note: Note | None = None

    def __call__(self) -> None:
        """Raises JobError where this machine does not share the folder."""
        os.environ.update(self.environment)
        if self.note is not None:
            _refuse_another_disk(self.out, self.note)

    def actor(self, kind: type) -> Any:
        """A class of actors whose processes are set up first."""
        setup = self

        class Ready(kind):
            def __init__(self, *arguments: Any) -> None:
                setup()
                super().__init__(*arguments)

        return Ready

    def function(self, work: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """A function whose process is set up first."""

        def ready(item: dict[str, Any]) -> Any:
            self()
            return work(item)

        return ready


@contextmanager
def set_up(out: str | Path, found: Cluster) -> Iterator[Setup]:
    """The setup of a job's workers, for the time of a block."""
    environment, store = aws_environment(), open_to_write(out)
    note = None if found.own or not store.is_local else Note.left(store)
    try:
        yield Setup(environment=environment, out=str(out), note=note)
    finally:
        if note is not None:
            with suppress(ReleaseError):
                store.delete(note.key)


@lru_cache(maxsize=8)
def _refuse_another_disk(out: str, note: Note) -> None:
    if not note.is_read(open_to_write(out)):
        raise JobError(
            f"machine {socket.gethostname()} does not share --out {out} with the driver's: give a "
            "folder that every machine mounts (NFS, Lustre), or use one (RAY_ADDRESS=local)",
            exit_code=1,
        )
