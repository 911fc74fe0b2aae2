"""A download as a process that tests kill: python -m tests.manifests.dying_download URI OUT DEATH.

Downloads the release at URI to OUT, and kills itself with SIGKILL when side file number DEATH is
whole and about to get its name."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from manifests.storage.confined import Directory
from ray_jobs.cli import main


def die_at(out: Path, death: int) -> None:
    rename, renames = Directory.replace, itertools.count(1)

    def dying(self: Directory, *arguments: Any) -> None:
        if self.path.is_relative_to(out) and next(renames) == death:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(self, *arguments)

    Directory.replace = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    die_at(Path(sys.argv[2]).resolve(), int(sys.argv[3]))
    sys.exit(main(["download", sys.argv[1], sys.argv[2]]))
