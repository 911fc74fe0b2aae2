"""Which run a folder holds, whether it is finished, and who may train into it now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from manifests.changes.lease import Lease, acquire
from manifests.storage import open_to_write
from ray_jobs.files import read_json, write_json
from ray_jobs.work_folder import WorkFolder

FINISHED = "finished.json"
LAST = "last"  # of the checkpoints, the one whose weights the result has by default

Card = dict[str, Any] | None


def claim(text: str, identity: dict[str, Any]) -> tuple[WorkFolder, dict[str, Any]]:
    """The place that `--out` names, which from now on is of this run, and with what that run was
    begun: its checkpoints lie under that name.

    How many samples a worker computes at once may change: on fewer GPUs it has to, and the step is
    the same but for rounding.

    Raises:
        JobError: another run was begun there, or nobody can write there.
    """
    return WorkFolder.claimed(text, identity, what="a training run", free=["training.micro_batch"])


def is_finished(out: WorkFolder, result: str, steps: int, card: Card, take: str = LAST) -> bool:
    """Whether the run already ended at `steps` or later and wrote its result.

    Args:
        result: the file that is written last of the result.
        card: what the result tells of itself; another one has to be written anew.
        take: the checkpoint whose weights the result has, as `--take` says it.
    """
    found = read_json(out.fetch(FINISHED))
    if found is None or not out.fetch(result).exists():
        return False
    same = found.get("card", card) == card and found.get("take", LAST) == take
    return same and found["steps"] >= steps


def mark_finished(out: WorkFolder, steps: int, card: Card, take: str = LAST) -> None:
    """Say that the run's result is written."""
    write_json(out.path / FINISHED, {"steps": steps, "card": card, "take": take})
    out.put(FINISHED)


@contextmanager
def held(out: WorkFolder) -> Iterator[Lease]:
    """The lease of a run's folder for the time of a block; a dead holder's is taken over.

    Raises:
        ReleaseError: another command trains into it now.
    """
    lease = acquire(open_to_write(out.where), "train")
    try:
        with lease.beating():
            yield lease
    finally:
        lease.free()
