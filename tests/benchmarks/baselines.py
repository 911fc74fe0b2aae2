"""The baselines beside the diffusion model: a picture of each, and how alike their samples are.

    python -m tests.benchmarks.baselines --lsgan lsgan/model --vae-gan vaegan/model \\
        --picture docs/baselines.png [--cohort prepared]

Every model draws the same number of volumes. Likeness is the mean correlation of all pairs of
them, 1 where a model always makes the same volume; with the prepared cohort also that of as many
of its subjects, of whom no picture is drawn.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import ldm
from ldm.gan.validation import likeness
from ldm.models.base import LoadedModel
from ldm.noise import COVARIATES, generator
from ldm.volumes.conversion import dequantise
from ldm.volumes.previews import sweep
from ldm.volumes.quality import check, measure
from ray_jobs.preparation.cohort import PreparedCohort

SHOWN = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lsgan", required=True, metavar="MODEL")
    parser.add_argument("--vae-gan", required=True, metavar="MODEL")
    parser.add_argument("--ldm", default="demo", metavar="MODEL")
    parser.add_argument("--cohort", type=Path, metavar="FOLDER")
    parser.add_argument("--n", type=int, default=32)
    parser.add_argument("--picture", type=Path, default=Path("docs/baselines.png"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for title, source in (("LSGAN", args.lsgan), ("VAE-GAN", args.vae_gan), ("LDM", args.ldm)):
        model = ldm.load(source, device="cpu")
        levels, seconds = draw(model, args.n)
        good = sum(check(volume, model.description.bounds).ok for volume in levels)
        tell(title, levels, f"{seconds:.2f} s a volume, {good} of {args.n} pass the check")
        named = f"{title}: {model.name}"
        shown = [dequantise(volume) for volume in levels[:SHOWN]]
        rows.append(sweep(shown, [str(number) for number in range(SHOWN)], title=named))
    if args.cohort:
        paths = PreparedCohort.open(args.cohort).volumes("train")[: args.n]
        tell("real", np.stack([np.load(path) for path in paths]), f"{len(paths)} subjects")
    args.picture.parent.mkdir(exist_ok=True)
    args.picture.write_bytes(stacked(rows))
    print(f"wrote {args.picture}")


def draw(model: LoadedModel, count: int) -> tuple[np.ndarray, float]:
    """`count` volumes (N, X, Y, Z) uint16, and the seconds that each took on one core."""
    rows = [model.distribution.sample(generator(COVARIATES, 0, i)) for i in range(count)]
    begun = time.perf_counter()
    levels = [model.generate([row], [(0, i)])[0] for i, row in enumerate(rows)]
    return np.stack(levels), (time.perf_counter() - begun) / count


def tell(title: str, levels: np.ndarray, more: str) -> None:
    """A line of figures: likeness of pairs, and edges, which blur takes away."""
    edges = np.mean([measure(volume)["edge_strength"] for volume in levels])
    print(f"{title:<8} likeness {likeness(dequantise(levels)):.4f}, edges {edges:.4f}; {more}")


def stacked(rows: Sequence[bytes]) -> bytes:
    """PNG pictures one below the other."""
    pictures = [Image.open(io.BytesIO(row)) for row in rows]
    first = pictures[0]
    page = Image.new("P", (max(p.width for p in pictures), sum(p.height for p in pictures)))
    palette = first.getpalette()
    assert palette is not None
    page.putpalette(palette)
    top = 0
    for picture in pictures:
        page.paste(picture, ((page.width - picture.width) // 2, top))
        top += picture.height
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
