"""What an evaluation says before it begins."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

from ray_jobs.evaluation.words import head


def test_the_head_tells_of_whom_on_what_and_in_which_steps() -> None:
    sources: Any = {"real": SimpleNamespace(items=[0] * 148), "demo": SimpleNamespace(items=[0])}
    plain = argparse.Namespace(workers=None, medicalnet=None, latents=None, model=None)
    assert head(sources, plain, 2, 0) == (
        "evaluating volumes: 148 of real, 1 of demo; 2 workers, one core each\n"
        "4 steps: measure each, compare pairs, match folds, reckon and report"
    )
    whole = argparse.Namespace(workers=3, medicalnet="x", latents="y", model="z")
    told = head(sources, whole, 2, 1)
    assert "3 workers, one core each, and 1 GPU\n7 steps: measure each, MedicalNet's" in told
