"""How well many workers share the work: simulated GPUs through the real job, on real Ray nodes.

    python -m tests.benchmarks.actors 1 2 4 8 32 4x8 --seconds 1

A worker sleeps where its GPU would compute (`tests.benchmarks.simulated`); everything else is the
job's own: driver, policy, ledger, checks, compression, digests, uploads to an S3 server. `4x8` is
four Ray nodes with eight workers each. Efficiency is drawing time over the workers' time:

- ready: from each worker's first draw to the commit of the last shard;
- whole: from the start of the command's work to its end, so with starting Ray's processes and
  closing the release, on this machine's cores.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manifests.ledger import Ledger
from manifests.storage import open_store
from tests.benchmarks.simulated import LOADER, NOTES, write_model
from tests.servers import S3Server

OBJECT_STORE_BYTES = 80 * 1024**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workers", nargs="+", help="how many, or NODESxWORKERS")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a GPU, for a volume")
    parser.add_argument("--volumes", type=int, default=120, help="for each worker")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--shard", type=int, default=4)
    parser.add_argument("--sides", type=int, default=16, help="voxels along each axis")
    args = parser.parse_args()
    print(
        "| workers | Ray nodes | volumes | ready to last commit, s | volumes a second | "
        "efficiency, ready | whole, s | efficiency, whole | machine busy |\n"
        "|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    with S3Server.running("actors") as (server, folder):
        shape = (args.sides,) * 3
        model = write_model(Path(folder, "model"), seconds_per_volume=args.seconds, shape=shape)
        for text in args.workers:
            nodes, _, each = text.rpartition("x")
            notes = Path(folder, f"notes-{text}")
            notes.mkdir()
            os.environ[NOTES] = str(notes)
            print(measure(args, int(nodes or 1), int(each), model, notes, server), flush=True)


def measure(
    args: argparse.Namespace, nodes: int, each: int, model: Path, notes: Path, server: S3Server
) -> str:
    from ray_jobs.generation.job import generate
    from ray_jobs.generation.options import Device, Options

    workers = nodes * each
    out = f"s3://{server.make_bucket()}/release"
    options = Options(
        n=args.volumes * workers,
        out=out,
        model=str(model),
        device=Device.CUDA,
        precision="bf16",
        compile="off",
        batch_size=args.batch,
        shard_size=args.shard,
        actors=workers,
        loader=LOADER,
    )
    with fake_gpus(nodes, each):
        busy = cpu_seconds()
        begun = time.time()
        assert generate(options) == 0
        whole = time.time() - begun
        busy = cpu_seconds() - busy
    drawn, from_first = 0.0, dict[str, float]()
    for file in notes.iterdir():
        lines = [line.split() for line in file.read_text().splitlines()]
        draws = [(float(a), float(b)) for what, _, a, b in lines if what == "draw"]
        drawn += args.seconds * args.batch * len(draws)
        from_first[file.name] = min(a for a, _ in draws)
    assert len(from_first) == workers
    parts = Ledger(open_store(out)).parts().values()
    last = max(part.modified for part in parts) + 1.0  # S3 tells whole seconds, cut off
    ready = sum(last - first for first in from_first.values())
    ideal = options.n * args.seconds / workers
    return (
        f"| {workers} | {nodes} | {options.n:,} | {ready / workers:.1f} | "
        f"{options.n / (ready / workers):.1f} | {100 * drawn / ready:.1f} % | {whole:.1f} | "
        f"{100 * ideal / whole:.1f} % | {100 * busy / whole / (os.cpu_count() or 1):.0f} % |"
    )


@contextmanager
def fake_gpus(nodes: int, each: int) -> Iterator[None]:
    """A Ray cluster of so many nodes on this machine, each of which believes to have GPUs."""
    from ray.cluster_utils import Cluster

    # Ray starts workers 15 steps nicer than their node: nothing beside them may run instead.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    node: dict[str, Any] = {
        "num_cpus": each,
        "num_gpus": each,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(**node)
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        yield
    finally:
        del os.environ["RAY_ADDRESS"]
        cluster.shutdown()


def cpu_seconds() -> float:
    """Of all processes of this machine, since it was started."""
    user, nice, system, _, _, interrupts, soft, *_ = (
        int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
