"""The checkpoints that Ray Train keeps of a run: the last, the best, and what a kill left."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.training import checkpoint
from ray_jobs.errors import JobError
from ray_jobs.files import read_json
from ray_jobs.training.fitting.identity import LAST

BEST = "best"
SCORE = "score"  # the figure that orders them, the lower the better
_LIST = "checkpoint_manager_snapshot.json"


def ordered(score: float | None) -> float:
    """The score as Ray Train orders checkpoints by it: one without comes after all others. It
    keeps scores in JSON, which knows no infinity."""
    return score if score is not None and math.isfinite(score) else sys.float_info.max


def last_complete(run: Path) -> Path | None:
    """The newest complete checkpoint in Ray Train's folder of a run, also one it has not listed:
    the run was killed after the checkpoint was written, or while the list was."""
    return next((folder for folder, _ in _complete(run)), None)


def drop_torn_list(run: Path) -> None:
    """Ray Train rewrites its list of checkpoints in place and dies of half a one: with none,
    the workers find the last checkpoint themselves."""
    path = run / _LIST
    if read_json(path) is None:
        path.unlink(missing_ok=True)


def chosen(run: Path, last: Path, take: str) -> tuple[Path, dict[str, Any]]:
    """The checkpoint that `--take` names, and what it says of itself.

    Raises:
        JobError: no checkpoint of that step is kept.
    """
    kept = dict(_complete(run))
    if take == LAST:
        return last, kept[last]
    scored = {one: meta for one, meta in kept.items() if meta.get(SCORE) is not None}
    if take == BEST and scored:
        folder = min(scored, key=lambda one: scored[one][SCORE])
        return folder, scored[folder]
    for folder, meta in scored.items():
        if str(meta["step"]) == take:
            return folder, meta
    steps = ", ".join(str(step) for step in sorted({meta["step"] for meta in scored.values()}))
    raise JobError(
        f"--take {take}: validated and kept are the checkpoints of steps {steps or 'none'}; choose "
        "one of them, or last"
    )


def _complete(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The complete checkpoints of a run and their metadata, the newest first."""
    for folder in sorted(run.glob("checkpoint_*/"), reverse=True):
        with suppress(LdmError):
            yield folder, checkpoint.look(folder)
