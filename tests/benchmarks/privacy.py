"""How often the privacy audit fails an innocent model, and how often it catches ten copies.

    python -m tests.benchmarks.privacy [--seeds 500] [--volumes FOLDER]

Innocent: synthetic rows drawn from the population that the training and held-out rows come from.
FOLDER holds the .npy volumes of a cohort that `prepare` wrote; there 85 subjects are trained on, 30
held out, and the others stand in for synthetic volumes, with ten training subjects copied, or not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from ldm.evaluation.features import image_vectors, mirror
from ldm.evaluation.privacy.audit import Space, audit
from ldm.evaluation.privacy.verdict import Audit
from ldm.evaluation.statistics.intervals import proportion

Draw = Callable[[np.random.Generator, int, int], np.ndarray]

POPULATIONS: dict[str, Draw] = {
    "Gaussian": lambda rng, n, d: rng.standard_normal((n, d)),
    "Gaussian, sd 1/sqrt(i)": lambda rng, n, d: (
        rng.standard_normal((n, d)) / np.sqrt(np.arange(1, d + 1))
    ),
    "Student t(4), sd 1/sqrt(i)": lambda rng, n, d: (
        rng.standard_t(4, (n, d)) / np.sqrt(np.arange(1, d + 1))
    ),
}
SIZES = ((8, 20, 300), (64, 30, 500), (256, 40, 300))  # dimensions, held-out, synthetic
TRAINING = 120
RULES = {"near-copies": "near-copies", "crowding": "as near to one", "membership": "told from"}


@dataclass(frozen=True, kw_only=True)
class Copy:
    """How ten training subjects are copied: blur in voxels, noise in intensity, flipped or not."""

    blur: float = 0.0
    noise: float = 0.0
    flip: bool = False

    def __str__(self) -> str:
        made = f"blur {self.blur:g} voxels" if self.blur else f"noise {self.noise:g}"
        return f"{made}, flipped" if self.flip else made


COPIES = (
    *(Copy(noise=noise) for noise in (0.05, 0.1)),
    Copy(noise=0.05, flip=True),
    *(Copy(blur=blur) for blur in (1, 1.5, 2)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--volumes", type=Path)
    args = parser.parse_args()
    print(f"| population | D | held-out | synthetic | fail | {' | '.join(RULES)} |")
    print("|---|---|---|---|---|" + "---|" * len(RULES))
    for name, draw in POPULATIONS.items():
        for d, held_out, made in SIZES:
            found = [
                innocent(draw, np.random.default_rng(seed), d, held_out, made)
                for seed in range(args.seeds)
            ]
            print(f"| {name} | {d} | {held_out} | {made} | {failures(found)} |", flush=True)
    if args.volumes is not None:
        cohort(args.volumes, args.seeds)


def innocent(draw: Draw, rng: np.random.Generator, d: int, held_out: int, made: int) -> Audit:
    """An audit of rows of one population."""
    sets = (draw(rng, n, d) for n in (TRAINING, held_out, made))
    training, other, synthetic = sets
    return audit(Space(name="features", training=training, held_out=other, synthetic=synthetic))


def failures(found: list[Audit]) -> str:
    """The share that failed, with its interval, and how often each rule did."""
    share = proportion(sum(not one.passed for one in found), len(found))
    rules = (
        str(sum(any(words in reason for reason in one.reasons) for one in found))
        for words in RULES.values()
    )
    cells = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
    return " | ".join([cells, *rules])


def cohort(folder: Path, seeds: int) -> None:
    """The same with real volumes, without and with ten copies."""
    volumes = np.stack([np.load(path) for path in sorted(folder.glob("*.npy"))]).astype(np.float32)
    vectors, mirrored = image_vectors(volumes), image_vectors(mirror(volumes))

    def one(seed: int, copy: Copy | None) -> Audit:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(volumes))
        training, held_out, others = np.split(order, [85, 115])
        made, flipped = vectors[others], mirrored[others]
        if copy is not None:
            copies = volumes[training[:10]]
            copies = mirror(copies) if copy.flip else copies
            copies = gaussian_filter(copies, (0, copy.blur, copy.blur, copy.blur))
            copies = copies + copy.noise * rng.standard_normal(copies.shape)
            made = np.concatenate([made, image_vectors(copies)])
            flipped = np.concatenate([flipped, image_vectors(mirror(copies))])
        return audit(
            Space(
                name="images",
                training=vectors[training],
                held_out=vectors[held_out],
                synthetic=made,
                held_out_mirrored=mirrored[held_out],
                synthetic_mirrored=flipped,
            )
        )

    print(f"\n{len(volumes)} real volumes of {volumes.shape[1:]}: fail | {' | '.join(RULES)}")
    print(f"no copies, {seeds} splits: {failures([one(seed, None) for seed in range(seeds)])}")
    for copy in COPIES:
        found = [one(seed, copy) for seed in range(20)]
        print(f"10 copies, {copy}, 20 splits: {failures(found)}", flush=True)


if __name__ == "__main__":
    main()
