"""For all tests of this folder: the work of Ray Data done in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ray_jobs.preparation.attempts import Attempts
from tests.ray_jobs.line import without_ray


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every subject's work done here instead of by Ray Data."""
    without_ray(monkeypatch)
    kept = Attempts.kept

    def kept_or_made(attempts: Attempts, volumes: Path, grid: Any) -> Any:
        return kept(attempts, volumes, grid) or attempts.prepare(volumes, grid)

    monkeypatch.setattr(Attempts, "kept", kept_or_made)
