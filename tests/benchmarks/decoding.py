"""Decoding a volume whole and in slabs: memory, seconds, and how far the two are apart.

    python -m tests.benchmarks.decoding --model paper --rows 8,16
    python -m tests.benchmarks.decoding --model demo --rows 8 --device cuda

Each way runs in a process of its own, for the memory that it takes beyond the network's weights
(of a GPU's allocator; on a CPU the process's peak, allocations of every size given back at once).
`paper` and `lab` are those presets' networks with random weights.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ldm.loading import load
from ldm.models.latent_diffusion import Model
from ldm.networks import Autoencoder, channels_last
from ldm.networks.precision import PRECISIONS, autocast, cast
from ldm.training.presets import preset

GIB = 2**30
# Memory that is freed goes back to the system, so that a process's peak is of what was in use.
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rows", default="8", help="of a slab, several with commas")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="fp32", choices=list(PRECISIONS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args)
        return
    print("| decoded | memory, GiB | seconds | largest difference |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        whole = None
        for rows in (0, *map(int, args.rows.split(","))):
            out = Path(scratch) / "volume.npy"
            words = [sys.executable, "-m", "tests.benchmarks.decoding", *sys.argv[1:]]
            found = subprocess.run(
                [*words, "--one", f"{rows}:{out}"],
                env={**os.environ, **AT_ONCE},
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            name = f"{rows} rows at a time" if rows else "whole"
            if found.returncode:
                print(f"| {name} | ended with {found.returncode} | | |", flush=True)
                continue
            volume = np.load(out)
            apart = "" if whole is None else f"{np.abs(volume - whole).max():.1e}"
            whole = volume if not rows else whole
            print(f"| {name} | {found.stdout.strip()} | {apart} |", flush=True)


def measure(args: argparse.Namespace) -> None:
    """One way: prints "GIB | SECONDS" and writes the volume, over its deviation."""
    rows, out = args.one.split(":", 1)
    network, shape = build(args.model)
    dtype = PRECISIONS[args.precision]
    network.eval().requires_grad_(False).to(args.device)
    cast(network, dtype, keep=network.last_convolution)
    channels_last(network)
    latent = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(args.device)
    on_gpu = args.device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else resident()
    begun = time.perf_counter()
    with torch.inference_mode(), autocast(args.device, dtype):
        volume = network.decode(latent, rows=int(rows) or None).float()
    if on_gpu:
        torch.cuda.synchronize()
    took = time.perf_counter() - begun
    peak = torch.cuda.max_memory_allocated() if on_gpu else most_resident()
    np.save(out, (volume / volume.std()).cpu().numpy())
    print(f"{(peak - before) / GIB:.2f} | {took:.1f}")


def build(name: str) -> tuple[Autoencoder, tuple[int, ...]]:
    """The network, and the shape of one latent."""
    if name in ("paper", "lab", "tiny"):
        torch.manual_seed(0)
        chosen = preset(name)
        return Autoencoder(chosen.autoencoder), (1, *chosen.latent_shape)
    model = load(name, device="cpu", precision="fp32")
    assert isinstance(model, Model)
    return model.autoencoder, (1, *model.latent_shape)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def most_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
