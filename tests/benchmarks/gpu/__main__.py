"""The three runs of README.md, each within a time: speed and memory, a demo model, the lab's.

    python -m tests.benchmarks.gpu speed --out measured
    python -m tests.benchmarks.gpu demo --cohort prepared --out measured
    python -m tests.benchmarks.gpu lab --out measured

`--rehearse` runs the same commands in small on a CPU. What a command prints goes to its `.log`
beside its figures; one that fails or does not end in time is told, and the next begins.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

MINUTES = 9.5  # of a run, so that what it leaves can be fetched within ten


class Command(NamedTuple):
    """A module with its options, and the file that it leaves below --out."""

    name: str
    words: list[str]
    leaves: str


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", choices=["speed", "demo", "lab"])
    parser.add_argument("--cohort", help="what brainpress prepare wrote, for demo")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--rehearse", action="store_true")
    args = parser.parse_args()
    if not args.rehearse and not torch.cuda.is_available():
        print("no GPU that PyTorch sees; --rehearse runs it in small on a CPU", file=sys.stderr)
        return 2
    if args.run == "demo" and not args.cohort:
        print("demo: expected --cohort, what brainpress prepare wrote", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * args.minutes
    failed = 0
    for command in commands(args):
        failed += not ran(command, args.out, until - time.monotonic())
    return int(failed > 0)


def commands(args: argparse.Namespace) -> Iterator[Command]:
    small, out = args.rehearse, args.out
    if args.run == "speed":
        model, volumes, batch = ("demo", 2, 2) if small else ("paper", 16, 8)
        speed = ["--model", model, "--volumes", f"{volumes}", "--batch", f"{batch}"]
        yield Command(
            "generate",
            ["generate", *speed, *(["--rounds", "1"] if small else ["--compile"])],
            "generate.json",
        )
        shrunk = ["--width", "8", "--side", "2", "--steps", "1"] if small else ["--steps", "3"]
        words = ["paper_scale", *shrunk, "--batches", "1,2,4,8,16"]
        yield Command("training", words, "training.json")
        words = ["gpu.equal", "--volumes", f"{volumes}", "--batches", f"1,{batch}"]
        yield Command("equal", words, "equal.json")
        words = ["decoding", "--model", model, "--rows", "8,16,32"]
        yield Command("decoding", words, "decoding.log")
    elif args.run == "demo":
        minutes, copies = ("0,0.3,0.3", "3") if small else ("0,5,2.5", "16")
        words = ["--cohort", args.cohort, "--from", "demo", "--copies", copies, "--deform"]
        words += [] if small else ["--batch", "64"]
        yield Command(
            "demo",
            ["gpu.model", *words, "--minutes", minutes, "--out", f"{out}/demo"],
            "demo/figures.json",
        )
    else:
        shrunk = ["--width", "4", "--side", "2", "--steps", "1"] if small else ["--steps", "10"]
        words = ["--preset", "lab", *shrunk, "--batches", "1,4,16"]
        yield Command("lab", ["paper_scale", *words], "lab.json")


def ran(command: Command, out: Path, seconds: float) -> bool:
    """Whether the command ended well within the time that is left."""
    module, *words = command.words
    if command.leaves.endswith(f"{command.name}.json"):
        words += ["--out", str(out / command.leaves)]
    log = out / f"{command.name}.log"
    print(f"{command.name}: {module} {' '.join(words)}", flush=True)
    begun = time.monotonic()
    with log.open("w") as told:
        try:
            code = subprocess.run(
                [sys.executable, "-m", f"tests.benchmarks.{module}", *words],
                stdout=told,
                stderr=subprocess.STDOUT,
                timeout=max(1.0, seconds),
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    found = out / command.leaves
    made = code == 0 and found.exists() and found.stat().st_size > 0
    how = "done" if made else "out of time" if code == -1 else f"failed with {code}"
    print(f"{command.name}: {how} after {time.monotonic() - begun:.0f} s, {log}", flush=True)
    return made


if __name__ == "__main__":
    raise SystemExit(main())
