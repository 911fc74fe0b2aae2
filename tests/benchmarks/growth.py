"""What grows with the number of samples: objects, bytes of the manifest, listing, closing, memory.

    python -m tests.benchmarks.growth 1000 10000 100000 1000000
    python -m tests.benchmarks.growth 10000000 --folder /scratch/growth

The parts are written with the ledger's own `commit`, of made-up rows; listing, reading for resuming
and closing are the job's own. Images are not written: nothing of the above reads them. In a folder
the parts that are there already stay, and are not forced to the disk one by one.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from ldm.covariates import PAPER_SCHEMA
from manifests.format.document import ReleaseDocument
from manifests.format.layout import (
    MANIFEST_KEY,
    PARTICIPANTS_KEY,
    RELEASE_KEY,
    image_path,
    part_key,
    participant_id,
)
from manifests.format.parquet import parquet_bytes
from manifests.format.schema import manifest_schema
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.storage import open_store
from manifests.storage.base import Store
from ray_jobs.generation.worker.rows import QUALITY_COLUMNS, covariate_columns
from tests.servers import S3Server

COLUMNS = covariate_columns(PAPER_SCHEMA)
SCHEMA = manifest_schema(COLUMNS, QUALITY_COLUMNS)
WRITERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="+")
    parser.add_argument("--shard-size", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="where, in place of a server of its own")
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.out:  # in a process of its own, whose peak of memory counts
        plan = ShardPlan(args.n[0], args.shard_size)
        print(close(open_store(args.out), plan))
        return
    print(
        "| samples | parts | objects | parts, MB | manifest.parquet, MB | participants.tsv, MB | "
        "release.json, MB | list what is done, s (CPU s) | close, s (CPU s) | memory of closing, "
        "most |\n|---|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    if args.folder:
        for n in args.n:
            put_parts(args.folder / f"{n}", ShardPlan(n, args.shard_size))
            measured(n, args.shard_size, str(args.folder / f"{n}"))
        return
    with S3Server.running("growth") as (server, _):
        for n in args.n:
            out = f"s3://{server.make_bucket()}/release"
            commit_parts(open_store(out), ShardPlan(n, args.shard_size))
            measured(n, args.shard_size, out)


def measured(n: int, shard_size: int, out: str) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.growth", str(n)]
    command += ["--shard-size", str(shard_size), "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stdout, end="", flush=True)


def put_parts(folder: Path, plan: ShardPlan) -> None:
    """What `commit_parts` leaves in a folder."""
    begun(open_store(folder), plan)
    for shard in range(plan.count):
        path = folder / part_key(shard)
        if not path.exists():
            path.write_bytes(parquet_bytes(made_up(plan.indices(shard))))


def begun(store: Store, plan: ShardPlan) -> None:
    about = document()
    Ledger(store).begin(
        {"fingerprint": about.fingerprint, "fields": {}, "shard_size": plan.shard_size}, n=plan.n
    )


def commit_parts(store: Store, plan: ShardPlan) -> None:
    """What the workers leave, but for the images."""
    begun(store, plan)

    def commit(shard: int) -> None:
        indices = plan.indices(shard)
        Ledger(store).commit(shard, made_up(indices), len(indices))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(commit, range(plan.count)))


def made_up(indices: range) -> pa.Table:
    """Rows with as much in them as real ones have."""
    rng = np.random.default_rng(indices.start)
    count = len(indices)
    digests = rng.bytes(32 * count).hex()
    values: dict[str, object] = {
        "index": list(indices),
        "participant_id": [participant_id(index) for index in indices],
        "path": [image_path(index) for index in indices],
        "bytes": rng.integers(5_000_000, 6_000_000, count),
        "sha256": [digests[64 * i : 64 * (i + 1)] for i in range(count)],
        "sex": rng.choice(["F", "M"], count),
        "extrapolated": [False] * count,
        "seed": [0] * count,
        "attempt": pa.array([0] * count, pa.int32()),
        "status": ["ok"] * count,
        "error": pa.nulls(count, pa.string()),
    }
    for field in SCHEMA:
        if field.name not in values:
            values[field.name] = rng.random(count)
    return pa.table([pa.array(values[name]) for name in SCHEMA.names], schema=SCHEMA)


def document() -> ReleaseDocument:
    return ReleaseDocument(
        name="Growth",
        model={"name": "none"},
        sampler={"name": "none"},
        seed=0,
        fingerprint="f" * 64,
        fields={},
        columns=COLUMNS,
        quality=QUALITY_COLUMNS,
        license="CC0-1.0",
        software_version="benchmark",
    )


def close(store: Store, plan: ShardPlan) -> str:
    """List and close; the row of the table."""
    wall, cpu = time.monotonic(), time.process_time()
    assert Ledger(store).pending(plan) == []
    listed = time.monotonic() - wall, time.process_time() - cpu
    before = peak()
    wall, cpu = time.monotonic(), time.process_time()
    finalise(store, plan, document())
    closed = time.monotonic() - wall, time.process_time() - cpu
    entries = {entry.key: entry.size for entry in store.list()}
    parts = [size for key, size in entries.items() if key.startswith("manifest/part-")]
    sizes = [sum(parts), *(entries[key] for key in (MANIFEST_KEY, PARTICIPANTS_KEY, RELEASE_KEY))]
    cells = [
        f"{plan.n:,}",
        f"{len(parts):,}",
        f"{plan.n + len(entries):,}",
        *(f"{size / 1e6:.2f}" for size in sizes),
        "{:.2f} ({:.2f})".format(*listed),
        "{:.1f} ({:.1f})".format(*closed),
        f"{peak():.0f} MB, of which {before:.0f} before",
    ]
    return f"| {' | '.join(cells)} |"


def peak() -> float:
    """The most memory that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
