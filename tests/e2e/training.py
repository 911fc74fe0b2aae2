"""Runs of the training jobs that the end-to-end tests look into: their words, files and ends."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ray_jobs.files import read_json
from tests.e2e.running import RayHead

PRESET = ["--preset", "tiny"]
# One thread a worker: with another number of threads, sums are rounded in another order.
TRAIN = [*PRESET, "--steps", 60, "--save-every", 15, "--cpus-per-worker", 1]
CHECKPOINT_LIST = "checkpoint_manager_snapshot.json"  # Ray Train's
# Ray Train's controller looks at its workers every 2 s, too seldom for runs of some seconds.
PROMPT = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}


def on(head: RayHead) -> dict[str, str]:
    """What sends a job to `head`."""
    return {**head.environment(), **PROMPT}


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def history(run: Path) -> list[dict[str, float]]:
    """What validation found in a finished run of train-autoencoder."""
    found: list[dict[str, float]] = document(run / "autoencoder" / "autoencoder.json")["training"][
        "history"
    ]
    return found


def weights(run: Path) -> bytes:
    return (run / "autoencoder" / "autoencoder.safetensors").read_bytes()


def log(run: Path) -> str:
    """What the workers of a run have told so far."""
    path = run / "log.jsonl"
    return path.read_text() if path.exists() else ""


def checkpoints(run: Path) -> int:
    """How many checkpoints Ray Train knows of a run; only from those it can go on."""
    lists = [read_json(path) for path in run.glob(f"checkpoints/*/{CHECKPOINT_LIST}")]
    return sum(found["current_report_index"] for found in lists if found)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def training(cohort: Path | str, out: Path | str, *words: object) -> list[object]:
    """The options of a short train-autoencoder of `cohort` into `out`."""
    return ["--cohort", cohort, *TRAIN, "--out", out, *words]


def kept_steps(run: Path) -> list[int]:
    """The steps of the checkpoints that are kept, in order."""
    found = (read_json(path) for path in run.glob("checkpoints/*/checkpoint_*/checkpoint.json"))
    return sorted(meta["step"] for meta in found if meta)
