"""For all tests of this folder: the work of Ray Data done in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm.anatomy.inspection.scan import Inspection
from ldm.anatomy.registration import Registration
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


@pytest.fixture
def seen_as_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Balls pass for upright brains, without a registration of each."""
    place = Registration(rigid=np.eye(4), affine=np.eye(4), correlation=1.0, contrast=1.0)
    fine = Inspection(kind="brain", face=False, turned=0, shifted=0, cut=0, unseen=0, head_cut=0)
    monkeypatch.setattr("ldm.anatomy.registration.register", lambda *given: place)
    monkeypatch.setattr("ray_jobs.preparation.subject.inspect", lambda *given: fine)
