"""Whether the privacy audit catches a model that learnt ten subjects by heart, and only that one.

    python -m tests.benchmarks.overfitted --latents LATENTS --real PREPARED --out FOLDER

LATENTS and PREPARED are what encode-latents and prepare wrote of one cohort. The demo model's
diffusion network is trained on with ten of its training subjects alone; 50 volumes are printed for
the ten's own covariates, and 50 with the demo model as it is for the same ones. `evaluate` audits
both. Resumed by the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ldm.evaluation.privacy.verdict import FAILED
from ray_jobs.encoding.autoencoder_folder import FOLDER
from ray_jobs.encoding.latents import ARRAYS, EncodedCohort
from ray_jobs.work_folder import WorkFolder

COPIES = 5  # volumes asked for of each subject


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=10)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    asked = few(args.latents, args.out, args.subjects)
    training = ("--latents", args.out / "latents", "--from", "demo", "--steps", args.steps)
    more = ("--batch-size", args.subjects, "--learning-rate", 1e-3, "--workers", 1)
    brainpress("train-diffusion", *training, *more, "--out", args.out / "trained")
    models = {"overfitted": args.out / "trained" / "model", "innocent": "demo"}
    for name, model in models.items():
        drawn = ("--covariates", asked, "--n", COPIES * args.subjects, "--out", args.out / name)
        brainpress("generate", "--model", model, *drawn)
    verdicts = {name: audit(name, args) for name in models}
    caught = verdicts["overfitted"] == FAILED
    return 0 if caught and verdicts["innocent"] != FAILED else 1


def few(latents: Path, out: Path, count: int) -> Path:
    """Latents of `count` training subjects and those held out, in out/latents; and a table that
    asks for each of the few `COPIES` times."""
    whole = EncodedCohort.open(latents.absolute())
    chosen = whole.split("train").sample(count, random_state=0).sort_values("participant_id")
    folder = out / "latents"
    folder.mkdir(exist_ok=True)
    for name in (ARRAYS, FOLDER):
        if not (folder / name).exists():
            (folder / name).symlink_to(whole.folder.path / name)
    table = pd.concat([chosen, whole.split("validation")], ignore_index=True)
    replace(whole, folder=WorkFolder(str(folder)), table=table).write()
    asked = pd.concat([chosen[list(whole.schema.names)]] * COPIES)
    path = out / "asked.csv"
    asked.to_csv(path, index=False)
    return path


def audit(name: str, args: argparse.Namespace) -> str:
    """The verdict on a release; prints what was found."""
    out = args.out / f"{name}-report"
    words = (f"{name}={args.out / name}", "--real", args.real, "--pairs", 50, "--out", out)
    brainpress("evaluate", *words, may_fail=True)
    found: dict[str, Any] = json.loads((out / "evaluation.json").read_text())["privacy"][name]
    print(f"{name}: {found['verdict']}", json.dumps(found, indent=1))
    return str(found["verdict"])


def brainpress(*words: object, may_fail: bool = False) -> None:
    command = [sys.executable, "-m", "ray_jobs.cli", *map(str, words)]
    print("brainpress", *words, flush=True)
    done = subprocess.run(command, env={"RAY_ADDRESS": "local", **os.environ}, check=False)
    if done.returncode and not (may_fail and done.returncode == 1):
        raise SystemExit(f"brainpress {words[0]} ended with {done.returncode}")


if __name__ == "__main__":
    raise SystemExit(main())
