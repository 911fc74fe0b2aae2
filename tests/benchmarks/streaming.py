"""Volumes a second that a training loop gets: from S3, from its cache, from shards, from the disk.

    python -m tests.benchmarks.streaming --n 48

The release and its shards are made here: heads of the paper's size as the press stores them, 12
bits in gzip. The loop is PyTorch's DataLoader, which stacks float32 volumes and does nothing with
them. S3 is SeaweedFS on this machine: it takes its share of the same cores, no network is between,
and all files are in the page cache of the system.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from manifests.numbers import human_bytes
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.volumes.dataset import Volumes
from manifests.volumes.nifti import read_volume
from manifests.volumes.shards import write_shards
from tests.manifests import releases
from tests.servers import S3Server

SHAPE = (160, 224, 160)
VARIETY = 8  # different volumes; the others have the bytes of one of them, and a place of their own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=48)
    parser.add_argument("--shard-size", type=int, default=64_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    args = parser.parse_args()
    releases.image_bytes = head_bytes  # type: ignore[assignment]
    with S3Server.running("streaming") as (server, folder):
        measure(args, server, folder)


def measure(args: argparse.Namespace, server: S3Server, folder: Path) -> None:
    bucket = server.make_bucket(public=True)
    local, remote = str(folder / "release"), f"s3://{bucket}/release"
    for place in (local, remote):
        releases.make_release(place, args.n)
    size = sum(Release.open(local).query(columns=["bytes"])["bytes"].to_pylist())
    print(f"{args.n} volumes of {human_bytes(size / args.n)} ({SHAPE}), {os.cpu_count()} cores")
    for source, out in ((local, f"{local}-shards"), (remote, f"{remote}-shards")):
        started = time.monotonic()
        done = write_shards(Release.open(source), out, size=args.shard_size)
        rate = done.samples / (time.monotonic() - started)
        print(f"shards of {source.split('/')[0]}: {done.shards}, {rate:.1f} volumes/s written")
    cache = folder / "cache"
    sources: dict[str, Any] = {
        "local files": lambda: Volumes(local),
        "S3, no cache": lambda: Volumes(remote, cache=None),
        "S3, cold cache": lambda: (shutil.rmtree(cache, True), Volumes(remote, cache=cache))[1],
        "S3, warm cache": lambda: Volumes(remote, cache=cache),
        "shards, local": lambda: shards(f"{local}-shards", f"{local}-shards"),
        "shards, S3 by HTTP": lambda: shards(
            f"{remote}-shards", f"{server.endpoint}/{bucket}/release-shards"
        ),
    }
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(args.repeats):  # in turn, so that other work on the machine meets each alike
        for workers in args.workers:
            for source, make in sources.items():
                rate = args.n / drain(make(), workers, args.n)
                rates.setdefault((source, workers), []).append(rate)
    for (source, workers), found in rates.items():
        middle = float(np.median(found))
        print(
            f"| {source} | {workers} | {middle:.1f} | {min(found):.1f} to {max(found):.1f} |"
            f" {human_bytes(middle * size / args.n)}/s |"
        )


def drain(dataset: Any, workers: int, n: int) -> float:
    """Seconds of an epoch, with the start of the workers."""
    from torch.utils.data import DataLoader

    started = time.monotonic()
    count = 0
    for volumes, _ in DataLoader(dataset, batch_size=2, num_workers=workers):
        assert tuple(volumes.shape[1:]) == (1, *SHAPE)
        count += len(volumes)
    seconds = time.monotonic() - started
    assert count == n
    return seconds


def shards(place: str, base: str) -> Iterable[Any]:
    """The shards at `place` as the webdataset library reads them, from `base`."""
    import webdataset

    index = json.loads(open_store(place).get("index.json"))
    urls = [f"{base}/{shard['url']}" for shard in index["shards"]]
    dataset: Iterable[Any] = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).map(
        decode
    )
    return dataset


def decode(sample: dict[str, bytes]) -> tuple[np.ndarray, float]:
    return read_volume(sample["nii.gz"])[0][None], json.loads(sample["json"])["age"]


def head_bytes(index: int) -> bytes:
    return _head_bytes(index % VARIETY)


@functools.cache
def _head_bytes(index: int) -> bytes:
    """A smooth ellipsoid with noise inside, nothing outside."""
    sides = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    radius = sum(side**2 for side in sides)
    noise = np.random.default_rng(index).normal(0, 40, SHAPE)
    values = np.where(radius < 0.7, 1500 + 1200 * np.cos(6 * radius) + noise, 0)
    plain = bytearray(gzip.decompress(_small(index)))
    header = plain[:352]
    header[42:48] = np.array(SHAPE, np.int16).tobytes()
    voxels = values.clip(0, 4095).astype(np.int16).tobytes(order="F")
    return gzip.compress(bytes(header) + voxels, compresslevel=1, mtime=0)


_small = releases.image_bytes


if __name__ == "__main__":
    main()
