"""One run of 2,000 volumes under 60 random faults, ended by the same command again and again.

Of some a process, a machine or the storage dies; of others a device is wrong for some seconds.

    python -m tests.faults.chaos --seed 0

On a Ray cluster of two machines, into a real S3 server behind a proxy. Faults come in an order
that is a function of the seed; when each strikes depends on the machine. The finished release
must be the undisturbed one, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.e2e.running import ROOT, RayHead, descendants, environment, kill, named
from tests.faults.machine import Machine
from tests.faults.proxy import FaultyProxy, shown
from tests.faults.stage import Stage
from tests.faults.wrong_devices import WRONG_JSON

DEAD = {
    "worker killed (kill -9)": 8,
    "worker stopped (SIGSTOP)": 4,
    "machine killed (kill -9 of its raylet and workers)": 3,
    "driver killed (kill -9)": 4,
    "driver interrupted (SIGINT)": 3,
    "driver terminated (SIGTERM)": 3,
    "a second driver on the same release": 3,
    "S3 server killed, back after 3 to 8 s": 4,
    "S3 breaks half of all requests for 4 s": 6,
    "S3 leaves a request without an answer": 2,
}
WRONG = {
    "no numbers": 5,
    "raises": 4,
    "out of memory": 3,
    "cannot load": 3,
    "hangs": 2,
    "slow": 1,
    "damaged model": 2,
}
WRONG_SECONDS = (3.0, 8.0)
AT_LOADING = ("cannot load", "damaged model")
DEVICE = "device wrong: "
DECK = {**DEAD, **{f"{DEVICE}{kind}": count for kind, count in WRONG.items()}}
FEWEST = 50  # of 60, where the machine is quick
PAUSE_SECONDS = (0.0, 2.0)
# The next fault waits until a shard more is committed, or so long.
PROGRESS_SECONDS = 20.0
ENDINGS = {
    0: "exit 0",
    1: "exit 1",
    130: "exit 130",
    143: "exit 143",
    -signal.SIGKILL: "killed",
    -signal.SIGINT: "a signal while it was ending",
    -signal.SIGTERM: "a signal while it was ending",
}
LONGEST_SECONDS = 3_600


class Chaos:
    """The run, and what is done to it."""

    def __init__(self, stage: Stage, proxy: FaultyProxy, head: RayHead, seed: int) -> None:
        self.stage, self.proxy, self.head = stage, proxy, head
        self.chance = random.Random(seed)
        self.uri = f"s3://{stage.server.make_bucket()}/release"
        os.environ["MACHINE"] = "1"  # devices of the head's, "0", are the wrong ones
        self.machine = Machine(head)
        self.runs: list[subprocess.Popen[str]] = []
        self.struck: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        self.begun = 0

    def play(self) -> None:
        """Every fault of the deck, each while a run is under way; then quiet, to the end."""
        deck = [kind for kind, count in DECK.items() for _ in range(count)]
        self.chance.shuffle(deck)
        limit = time.monotonic() + LONGEST_SECONDS
        while deck:
            self._wait_for_progress()
            time.sleep(self.chance.uniform(*PAUSE_SECONDS))
            if not self._keep_running():
                assert sum(self.struck.values()) >= FEWEST, "done too soon: give more --steps"
                return
            assert time.monotonic() < limit, "no end"
            if self._strike(deck[-1]):
                kind = deck.pop()
                self.struck[kind] += 1
                done = self.stage.parts(self.uri)
                print(f"{len(deck):>3} to come, {done:>3} parts: {kind}", flush=True)
        while self._keep_running():
            time.sleep(0.5)
            assert time.monotonic() < limit, "no end"

    def _wait_for_progress(self) -> None:
        before, until = self.stage.parts(self.uri), time.monotonic() + PROGRESS_SECONDS
        while self._keep_running() and time.monotonic() < until:
            if self.stage.parts(self.uri) > before:
                return
            time.sleep(0.2)

    def _keep_running(self) -> bool:
        """Take in the runs that ended; begin one where none is left and the last was no success.

        Returns:
            Whether a run is under way.
        """
        for run in [run for run in self.runs if run.poll() is not None]:
            self.runs.remove(run)
            assert run.stderr is not None
            told = run.stderr.read().strip().splitlines()
            assert not any("Traceback" in line for line in told), told
            assert run.returncode in ENDINGS, (run.returncode, told)
            self.endings[ENDINGS[run.returncode]] += 1
            if run.returncode == 1:
                print(f"    exit 1: {told[-1][:200] if told else '?'}", flush=True)
            if run.returncode == 0 and not self.runs:
                return False
        if not self.runs:
            self._begin()
        return True

    def _begin(self) -> None:
        words = [*self.stage.words, "--out", self.uri, "--actors", 2]
        words += ["--worker-patience", 10, "--storage-patience", 60]
        self.begun += 1
        self.runs.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.wrong_devices", *map(str, words)],
                env=environment({**self.stage.through(self.proxy), **self.head.environment()}),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )

    def _workers(self) -> list[int]:
        tree = descendants(self.head.process.pid) + descendants(self.machine.node.pid)
        return named(tree, "ray::WrongWorker")

    def _go_wrong(self, kind: str) -> bool:
        """A device of the head's is wrong for some seconds; whether it is used."""
        workers = named(descendants(self.head.process.pid), "ray::WrongWorker")
        if not workers:
            return False
        write_wrong(self.stage.folder, {"0/CPU": kind})
        if kind in AT_LOADING:
            kill(self.chance.choice(workers))
        time.sleep(self.chance.uniform(*WRONG_SECONDS))
        write_wrong(self.stage.folder, {})
        return True

    def _strike(self, kind: str) -> bool:
        """Do it; whether there was somebody to do it to."""
        run = self.chance.choice(self.runs)
        if kind.startswith(DEVICE):
            return self._go_wrong(kind.removeprefix(DEVICE))
        if kind.startswith("worker"):
            workers = self._workers()
            if not workers:
                return False
            how = signal.SIGKILL if "killed" in kind else signal.SIGSTOP
            os.kill(self.chance.choice(workers), how)
        elif kind.startswith("driver"):
            if not self._workers():
                return False  # it has not begun yet
            signals = {"killed": signal.SIGKILL, "interrupted": signal.SIGINT}
            run.send_signal(signals.get(kind.split()[1], signal.SIGTERM))
        elif kind.startswith("machine"):
            self.machine.replace()
        elif kind.startswith("a second"):
            if len(self.runs) > 1:
                return False
            self._begin()
        elif "killed" in kind:
            self.stage.server.kill()
            time.sleep(self.chance.uniform(3, 8))
            assert self.stage.server.run()
        elif "half" in kind:
            self.proxy.rate = 0.5
            time.sleep(4)
            self.proxy.rate = 0.0
        else:
            self.proxy.silent = 1
        return True

    def stop(self) -> None:
        for run in self.runs:
            kill(run.pid)
        self.machine.kill()


def write_wrong(folder: Path, told: dict[str, str]) -> None:
    """What is wrong from now on; written whole, for workers read it all the time."""
    side = folder / f".{WRONG_JSON}"
    side.write_text(json.dumps(told))
    side.replace(folder / WRONG_JSON)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=2_000, help="volumes (default 2000)")
    parser.add_argument("--steps", type=int, default=16, help="of each; more make it last longer")
    args = parser.parse_args()
    started = time.monotonic()
    stage = Stage.set(
        Path(tempfile.mkdtemp(prefix="bp-chaos-")), n=args.n, steps=args.steps, shard=8
    )
    calm = time.monotonic() - started
    print(f"undisturbed: {len(stage.reference)} files in {calm:.0f} s", flush=True)
    write_wrong(stage.folder, {})
    os.environ["WRONG_FOLDER"] = str(stage.folder)
    head = RayHead.start(cpus=1, cwd=ROOT)
    chaos = None
    try:
        with stage.proxied(seed=args.seed) as proxy:
            chaos = Chaos(stage, proxy, head, args.seed)
            started = time.monotonic()
            chaos.play()
            took = time.monotonic() - started
            found = stage.objects(chaos.uri)
            stage.check_same(found)
        for kind, count in chaos.struck.items():
            print(f"{count:>5}  {kind}")
        print(f"{sum(chaos.struck.values()):>5}  faults; the proxy broke {shown(proxy.faults)}")
        print(f"{chaos.begun} runs ({shown(chaos.endings)}), {took:.0f} s")
        size = sum(map(len, found.values()))
        print(f"all {len(found)} objects, {size:,} bytes, are those of the undisturbed release")
    finally:
        if chaos is not None:
            chaos.stop()
        head.stop()
        stage.strike_down()


if __name__ == "__main__":
    main()
