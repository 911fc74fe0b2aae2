"""Which run a folder holds, and whether it is finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray_jobs.files import read_json, refuse_other_run, write_json

RUN, FINISHED = "run.json", "finished.json"
LAST = "last"  # of the checkpoints, the one whose weights the result has by default

Card = dict[str, Any] | None


def same_run(out: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Record what a run is, or check that the one begun in `out` is this one.

    How many samples a worker computes at once may change: on fewer GPUs it has to, and the step is
    the same but for rounding.

    Returns:
        With what the run was begun: its checkpoints lie under that name.

    Raises:
        JobError: `out` holds another run.
    """
    return refuse_other_run(out / RUN, identity, free=["training.micro_batch"])


def is_finished(
    out: Path, identity: dict[str, Any], result: Path, steps: int, card: Card, take: str = LAST
) -> bool:
    """Whether this very run already ended at `steps` or later and wrote its result.

    Args:
        result: the file that is written last of the result.
        card: what the result tells of itself; another one has to be written anew.
        take: the checkpoint whose weights the result has, as `--take` says it.

    Raises:
        JobError: `out` holds another run.
    """
    if (out / RUN).exists():
        same_run(out, identity)
    found = read_json(out / FINISHED)
    if found is None or not result.exists():
        return False
    same = found.get("card", card) == card and found.get("take", LAST) == take
    return same and found["steps"] >= steps


def mark_finished(out: Path, steps: int, card: Card, take: str = LAST) -> None:
    """Say that the run's result is written."""
    write_json(out / FINISHED, {"steps": steps, "card": card, "take": take})
