"""Whether a volume is the same, to the last bit, alone and among others, now and again.

    python -m tests.benchmarks.gpu.equal --model demo --volumes 16 --batches 1,4,16 --out equal.json

Every way prints the same volumes. Told is how many of them equal the first way's, and by how many
of the 4,095 levels the others differ.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ldm.loading import load
from ldm.networks.precision import PRECISIONS
from ldm.noise import COVARIATES, generator


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--volumes", type=int, default=16)
    parser.add_argument("--batches", default="1,16", help="each is printed twice")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("equal.json"))
    args = parser.parse_args()
    batches = [int(word) for word in args.batches.split(",")]
    rows = []
    for precision in args.precisions.split(","):
        model: Any = load(args.model, device=args.device, precision=precision)
        ways = [(batch, turn) for batch in batches for turn in (1, 2)]
        rows += compared(model, precision, ways, args.volumes)
    args.out.write_text(json.dumps(rows, indent=1) + "\n")


def compared(
    model: Any, precision: str, ways: list[tuple[int, int]], count: int
) -> list[dict[str, Any]]:
    """A row a way; the first is what the others are held against."""
    asked = [model.distribution.sample(generator(COVARIATES, key)) for key in range(count)]
    first, rows = None, []
    for batch, turn in ways:
        begun = time.perf_counter()
        volumes = np.concatenate(
            [
                model.generate(
                    asked[low : low + batch],
                    [(key,) for key in range(low, min(low + batch, count))],
                )
                for low in range(0, count, batch)
            ]
        )
        took = time.perf_counter() - begun
        first = volumes if first is None else first
        apart = np.abs(volumes.astype(int) - first).reshape(count, -1).max(axis=1)
        row = {
            "precision": precision,
            "batch": batch,
            "turn": turn,
            "equal": int((apart == 0).sum()),
            "of": count,
            "levels_apart": int(apart.max()),
            "volumes_a_second": round(count / took, 3),
        }
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
