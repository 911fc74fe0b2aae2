"""The table of wrong devices: one of 2, 4 and 8 GPUs that Ray believes in is wrong, in each way.

    python -m tests.faults.wrong [--gpus 2 4 8] [--only NAME ...]

The release must be the undisturbed one, byte for byte, and exit 0. Printed are the seconds above
those of the undisturbed run on as many GPUs, and what was said.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.running import ROOT, RayHead, environment, files, tiny_model
from tests.faults.machine import Machine
from tests.faults.wrong_devices import WRONG_JSON

KINDS = (
    "no numbers",
    "no numbers once",
    "raises",
    "cannot load",
    "hangs",
    "slow",
    "out of memory",
    "damaged model",
)
PATIENCE_SECONDS = 5
N, SHARD = 96, 4


def run(
    head: RayHead, folder: Path, model: Path, wrong: dict[str, str], n: int
) -> tuple[float, str]:
    """One run; its seconds, and what it said."""
    (folder / WRONG_JSON).write_text(json.dumps(wrong))
    (folder / "once").unlink(missing_ok=True)
    words: list[object] = ["--n", n, "--model", model, "--steps", 4, "--shard-size", SHARD]
    words += ["--device", "cuda", "--precision", "fp32", "--compile", "off", "--batch-size", 4]
    words += ["--worker-patience", PATIENCE_SECONDS, "--out", folder / "release"]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.wrong_devices", *map(str, words)],
        env=environment({"PYTHONPATH": str(ROOT), **head.environment()}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    took = time.monotonic() - began
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    told = [line for line in done.stderr.splitlines() if "attempt" in line or "left out" in line]
    return took, " | ".join(line.split("Z  ", 1)[-1] for line in told)


def table(gpus: int, kinds: list[str], n: int) -> int:
    """The rows of one number of GPUs; how many were not survived."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bp-wrong-") as place:
        model = tiny_model(Path(place, "model"))
        head = RayHead.start(cpus=gpus, gpus=gpus - gpus // 2, cwd=ROOT)
        os.environ["MACHINE"] = "1"
        machine = Machine(head, cpus=gpus, gpus=gpus // 2)
        del os.environ["MACHINE"]
        try:
            calm = Path(place, "calm")
            calm.mkdir()
            usual, _ = run(head, calm, model, {}, n)
            print(f"{gpus} GPUs, {'undisturbed':<18}{usual:6.0f} s", flush=True)
            for kind in kinds:
                folder = Path(place, kind.replace(" ", "-"))
                folder.mkdir()
                # The first machine's first; its copy of a model is damaged for all its GPUs.
                bad = range(gpus - gpus // 2 if kind == "damaged model" else 1)
                try:
                    took, told = run(head, folder, model, {f"0/{i}": kind for i in bad}, n)
                    found, wanted = files(folder / "release"), files(calm / "release")
                    assert found == wanted, "not the undisturbed release"
                    line = f"{took - usual:+6.0f} s  same bytes; {told[:300]}"
                except AssertionError as error:
                    failed += 1
                    line = f"FAILED: {error}"
                print(f"{gpus} GPUs, {kind:<18}{line}", flush=True)
        finally:
            machine.kill()
            head.stop()
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpus", nargs="+", type=int, default=[2, 4, 8], metavar="N")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="NAME")
    parser.add_argument("--n", type=int, default=N)
    args = parser.parse_args()
    failed = sum(table(gpus, args.only, args.n) for gpus in args.gpus)
    print(f"{failed} not survived")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
