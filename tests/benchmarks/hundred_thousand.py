"""100,000 tiny volumes through the real command onto a real S3 server: time, memory, resuming.

    python -m tests.benchmarks.hundred_thousand --n 100000

The model is a real one, of 16 x 24 x 16 voxels and random weights, one step a volume, so that what
is measured is the press: Ray, covariates, checks, compression, digests, uploads, ledger, manifest.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from manifests.format.release_json import read_release
from manifests.ledger import Ledger, ShardPlan
from manifests.storage import open_store
from tests.benchmarks.processes import watched
from tests.e2e.running import environment, script, tiny_model
from tests.servers import S3Server

MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2_000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=64)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--verify", action="store_true", help="read everything again at the end")
    args = parser.parse_args()
    with S3Server.running("scale") as (server, folder):
        model = tiny_model(Path(folder, "model"))
        measure(args, model, server, f"s3://{server.make_bucket()}/release")


def measure(args: argparse.Namespace, model: Path, server: S3Server, out: str) -> None:
    assert server.process is not None
    words = ["--n", args.n, "--out", out, "--model", model, "--steps", 1, "--precision", "fp32"]
    words += ["--batch-size", args.shard_size, "--shard-size", args.shard_size]
    words += ["--actors", args.actors, "--writers", args.writers]
    command = [sys.executable, script("generate"), *map(str, words)]
    # Ray starts its workers 15 steps nicer than the driver: nothing beside them may run instead.
    surroundings = environment({**server.environment(), "RAY_worker_niceness": "0"})
    started = time.monotonic()
    process = subprocess.Popen(command, env=surroundings)
    with watched({"driver": process.pid, "weed": server.process.pid}) as samples:
        code = process.wait()
    seconds = time.monotonic() - started
    assert code == 0, f"exit code {code}"
    print(
        f"\n{args.n} volumes in {seconds:.0f} s, {args.n / seconds:.0f} a second; load average "
        f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    )
    printed = max(at for at, _ in samples.seen["worker"])
    print(f"of that {seconds - printed:.1f} s after the last worker (closing the release)")
    print("| process | CPU s | ms a volume | memory, first third | last third | most |")
    print("|---|---|---|---|---|---|")
    for role in sorted(samples.seen):
        first, last, most = samples.thirds(role, printed)
        cpu = samples.cpu_seconds[role]
        print(
            f"| {role} | {cpu:.0f} | {1000 * cpu / args.n:.2f} | {first / MB:.0f} MB | "
            f"{last / MB:.0f} MB | {most / MB:.0f} MB |"
        )

    store, plan = open_store(out), ShardPlan(args.n, args.shard_size)
    begun, cpu = time.monotonic(), time.process_time()
    left = Ledger(store).pending(plan)
    print(
        f"\nlisting what is done: {time.monotonic() - begun:.2f} s "
        f"({time.process_time() - cpu:.2f} CPU s), {len(left)} of {plan.count} shards left"
    )
    begun = time.monotonic()
    again = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
    print(f"the same command again: {time.monotonic() - begun:.2f} s, {again.stdout.strip()!r}")
    release = read_release(store)
    assert release["counts"]["samples"] == args.n
    assert re.match("nothing left to do", again.stdout)
    if args.verify:
        begun = time.monotonic()
        verb = [str(Path(sys.executable).with_name("brainpress")), "verify", out]
        done = subprocess.run(verb, env=surroundings, capture_output=True, text=True, check=False)
        print(
            f"verify: exit {done.returncode}, {time.monotonic() - begun:.0f} s, "
            f"{done.stdout.strip().splitlines()[-1]!r}"
        )


if __name__ == "__main__":
    main()
