"""`brainpress download` against `rclone copy` of the same objects, taking turns.

    python -m tests.benchmarks.download --n 400

Objects of 0.3 to 4 MB lie on a real S3 server on this machine. Both start as a process of their own
and write to a new folder; both compare what arrived with a digest (rclone the server's MD5, with
--checksum, and its usual check after each transfer).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from manifests.format.layout import image_path
from manifests.format.schema import rows_table
from manifests.metadata.staging import write_release
from manifests.storage import open_store
from tests.manifests.releases import SCHEMA, document, row
from tests.servers import ACCESS_KEY, SECRET_KEY, S3Server

MB = 1e6
SMALLEST, LARGEST = 300_000, 4_000_000  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=8)
    args = parser.parse_args()
    with S3Server.running("download") as (server, folder):
        measure(args, server, folder)


def measure(args: argparse.Namespace, server: S3Server, folder: Path) -> None:
    bucket = server.make_bucket()
    size = fill(f"s3://{bucket}/release", args.n)
    beside = Path(sys.executable).parent
    many = str(args.connections)
    ours = [beside / "brainpress", "download", f"s3://{bucket}/release"]
    copy = [beside / "rclone", "copy", f"weed:{bucket}/release", "--checksum"]
    commands: dict[str, tuple[list[str | Path], list[str]]] = {
        f"brainpress download --connections {many}": (ours, ["--connections", many]),
        f"rclone copy --transfers {many}": (copy, ["--transfers", many, "--checkers", many]),
        "rclone copy (its defaults)": (copy, []),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(args.rounds + 1):
        for name, (command, options) in commands.items():
            out = folder / "out"
            words = [*map(str, command), str(out), *options]
            taken = timed(words, {**os.environ, **rclone(server)})
            assert sum(1 for _ in out.rglob("*.nii.gz")) == args.n
            shutil.rmtree(out)
            if turn:  # the first warms the caches up
                seconds[name].append(taken)
    print(f"\n{args.n} objects, {size / MB:.0f} MB, {os.cpu_count()} cores, {args.rounds} rounds")
    print(f"load average {os.getloadavg()[0]:.1f}")
    print("| command | median s | fastest | slowest | MB/s |\n|---|---|---|---|---|")
    for name, times in seconds.items():
        median = statistics.median(times)
        ends = f"{min(times):.2f} | {max(times):.2f}"
        print(f"| `{name}` | {median:.2f} | {ends} | {size / MB / median:.0f} |")
    first, *others = (statistics.median(times) for times in seconds.values())
    print(f"seconds of the faster rclone / seconds of brainpress: {min(others) / first:.2f}")


def fill(uri: str, n: int) -> int:
    """A release of `n` images of random bytes, whose digests fit; the bytes of all images."""
    store, rng, rows = open_store(uri), np.random.default_rng(0), []
    for index in range(n):
        data = rng.bytes(int(rng.integers(SMALLEST, LARGEST)))
        store.put(image_path(index), data)
        rows.append(row(index, data))
    write_release(store, rows_table(rows, SCHEMA), document())
    return sum(one["bytes"] for one in rows)


def rclone(server: S3Server) -> dict[str, str]:
    """The remote `weed` of rclone, by its environment alone."""
    about = {
        "TYPE": "s3",
        "PROVIDER": "SeaweedFS",
        "ENDPOINT": server.endpoint,
        "ACCESS_KEY_ID": ACCESS_KEY,
        "SECRET_ACCESS_KEY": SECRET_KEY,
        "REGION": "us-east-1",
    }
    settings = {f"RCLONE_CONFIG_WEED_{name}": value for name, value in about.items()}
    return {**settings, "RCLONE_CONFIG": "/dev/null"}


def timed(words: list[str], environment: dict[str, str]) -> float:
    os.sync()  # what others wrote before is not waited for here
    started = time.monotonic()
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
