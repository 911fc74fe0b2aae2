"""The checkpoints that are kept of a run: the last, the best, and what a kill left."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ldm.errors import LdmError
from ldm.training import checkpoint
from ray_jobs.errors import JobError
from ray_jobs.files import read_json
from ray_jobs.training.fitting.identity import LAST
from ray_jobs.training.fitting.storage import FOLDER, storage
from ray_jobs.work_folder import WorkFolder

BEST = "best"
SCORE = "score"  # the figure that orders them, the lower the better
AVERAGE = "average"  # the averaged weights, of a checkpoint's groups
_LIST = "checkpoint_manager_snapshot.json"


def ordered(score: float | None) -> float:
    """The score as Ray Train orders checkpoints by it: one without comes after all others. It
    keeps scores in JSON, which knows no infinity."""
    return score if score is not None and math.isfinite(score) else sys.float_info.max


@dataclass(frozen=True)
class Kept:
    """The checkpoints of the run `name` in `out`; each is called by the name of its folder."""

    out: WorkFolder
    name: str

    def last(self) -> str | None:
        """The newest complete one, also where Ray Train has not listed it: the run was killed
        after it was written, or while the list was."""
        return next((name for name, _ in self._complete()), None)

    def look(self, name: str) -> dict[str, Any]:
        """The metadata of a complete one.

        Raises:
            LdmError: it is not complete.
        """
        key = f"{self._key}/{name}"
        if not self.out.in_bucket:
            return checkpoint.look(self.out.path / key)
        meta = read_json(self.out.fetch(f"{key}/{checkpoint.META}"))
        there = {entry.key for entry in self.out.store.list(f"{key}/")}
        if meta is None or not {f"{key}/{group}" for group in checkpoint.files(meta)} <= there:
            raise LdmError(f"{self.out.where}/{key}: not a complete checkpoint")
        return meta

    def chosen(self, take: str) -> str:
        """The one that `--take` names.

        Raises:
            JobError: no checkpoint of that step is kept.
        """
        kept = dict(self._complete())
        if take == LAST and kept:
            return next(iter(kept))
        scored = {name: meta for name, meta in kept.items() if meta.get(SCORE) is not None}
        if take == BEST and scored:
            return min(scored, key=lambda name: scored[name][SCORE])
        for name, meta in scored.items():
            if str(meta["step"]) == take:
                return name
        steps = ", ".join(str(step) for step in sorted({meta["step"] for meta in scored.values()}))
        raise JobError(
            f"--take {take}: validated and kept are the checkpoints of steps {steps or 'none'}; "
            "choose one of them, or last"
        )

    def weights(self, name: str) -> dict[str, Any]:
        """The averaged weights of one."""
        key = f"{self._key}/{name}"
        for file in (checkpoint.META, *checkpoint.files({"groups": [AVERAGE]})):
            self.out.fetch(f"{key}/{file}")
        return checkpoint.read(self.out.path / key, (AVERAGE,))[0][AVERAGE]

    def ray(self, name: str) -> Any:
        """As Ray Train has it."""
        from ray.train import Checkpoint

        path, filesystem = storage(self.out)
        return Checkpoint(str(PurePosixPath(path, self.name, name)), filesystem)

    def drop_torn_list(self) -> None:
        """Ray Train rewrites its list of checkpoints in place and dies of half a one: with none,
        the workers find the last checkpoint themselves."""
        if not self.out.in_bucket:
            path = self.out.path / self._key / _LIST
            if read_json(path) is None:
                path.unlink(missing_ok=True)

    @property
    def _key(self) -> str:
        return f"{FOLDER}/{self.name}"

    def _names(self) -> list[str]:
        if not self.out.in_bucket:
            return [path.name for path in (self.out.path / self._key).glob("checkpoint_*/")]
        keys = (entry.key for entry in self.out.store.list(f"{self._key}/checkpoint_"))
        return sorted({Path(key).parts[-2] for key in keys})

    def _complete(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The complete ones and their metadata, the newest first."""
        for name in sorted(self._names(), reverse=True):
            with suppress(LdmError):
                yield name, self.look(name)
