"""What a pair of volumes costs in MS-SSIM and in 4-G-R-SSIM, on one core, beside MONAI's MS-SSIM.

    python -m tests.benchmarks.similarity [--pairs 20] [--shape 64 80 64] [--volumes FOLDER]

Random smooth volumes, or the .npy volumes of a folder that `prepare` wrote: real against real.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.metrics.regression import compute_ms_ssim
from scipy.ndimage import gaussian_filter

from ldm.evaluation import similarity
from ldm.evaluation.statistics import intervals

Index = Callable[[np.ndarray, np.ndarray], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--shape", type=int, nargs=3, default=[64, 80, 64])
    parser.add_argument("--volumes", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.volumes is None:
        volumes = [smooth(tuple(args.shape), seed) for seed in range(4)]
    else:
        volumes = [np.load(path) for path in sorted(args.volumes.glob("*.npy"))]
    pairs = similarity.draw_pairs(len(volumes), args.pairs)
    scales = similarity.scales_that_fit(volumes[0].shape)
    print(f"{len(pairs)} pairs of {len(volumes)} volumes of {volumes[0].shape}, {scales} scales")
    print("| index | CPU seconds a pair | median | slowest | mean over pairs |")
    print("|---|---|---|---|---|")
    indices: dict[str, Index] = {
        "MS-SSIM": similarity.ms_ssim,
        "4-G-R-SSIM": similarity.four_g_r_ssim,
        "MS-SSIM of MONAI": monai,
    }
    for name, index in indices.items():
        print(row(name, index, volumes, pairs), flush=True)


def row(name: str, index: Index, volumes: list[np.ndarray], pairs: list[tuple[int, int]]) -> str:
    """A line of the table."""
    seconds, values = [], []
    index(volumes[0], volumes[1])  # the first call compiles and allocates
    for i, j in pairs:
        begun = time.process_time()
        values.append(index(volumes[i], volumes[j]))
        seconds.append(time.process_time() - begun)
    found = intervals.mean_over_pairs(values, *np.array(pairs).T)
    return (
        f"| {name} | {np.mean(seconds):.3f} | {np.median(seconds):.3f} | {max(seconds):.3f} "
        f"| {found.value:.4f} ({found.low:.4f} to {found.high:.4f}), {found.n} volumes |"
    )


def monai(a: np.ndarray, b: np.ndarray) -> float:
    """MONAI's, with as many scales as ours."""
    weights = np.array(similarity.SCALE_WEIGHTS[: similarity.scales_that_fit(a.shape)])
    one, other = (torch.from_numpy(x.astype(np.float32))[None, None] for x in (a, b))
    found = compute_ms_ssim(
        one, other, spatial_dims=3, kernel_size=7, weights=(weights / weights.sum()).tolist()
    )
    return float(found)


def smooth(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A random volume, 0..1."""
    drawn = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return ((drawn - drawn.min()) / np.ptp(drawn)).astype(np.float32)


if __name__ == "__main__":
    main()
