"""What the segmenter sees in subjects it never saw and in the demo model's volumes, as a picture.

    python -m tests.benchmarks.segmenter_picture --picture docs/segmenter.png

With --bids COHORT, which has MUSE label maps, its three unseen subjects with the smallest, the
median and the largest ventricles stand in front: a picture to keep to oneself. Above the image,
below the structures: the segmenter's, and in a third row the label map's (real) or the truth
(virtual) where there is one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import ldm
from ldm.anatomy import labels
from ldm.measuring.fitting.subjects import UNSEEN, real_subjects, virtual_subjects
from ldm.measuring.segmenter import Segmenter, load_segmenter
from ldm.noise import COVARIATES, generator
from ldm.volumes.conversion import dequantise

# Of each structure, background first.
COLOURS = np.array(
    [(0, 0, 0), (47, 107, 255), (240, 160, 60), (245, 240, 230), (0, 220, 200), (190, 90, 220)]
)
BACKGROUND, TEXT, ALPHA, SCALE, GAP = (13, 16, 22), (190, 195, 205), 0.55, 2, 12


@dataclass(frozen=True)
class Cell:
    """A column: its caption, image, the structures found, and those known, if they are."""

    caption: str
    image: np.ndarray
    found: np.ndarray
    known: np.ndarray | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bids", type=Path)
    parser.add_argument("--segmenter", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(2)
    segmenter = load_segmenter(args.segmenter)
    cells = [*virtual(segmenter), *printed(args.model, segmenter)]
    if args.bids:
        cells = [*real(args.bids, segmenter), *cells]
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    page(cells).save(args.picture, optimize=True)
    print(f"wrote {args.picture}")


def real(bids: Path, segmenter: Segmenter) -> list[Cell]:
    everybody = sorted(real_subjects(bids, UNSEEN), key=lambda s: (s.labels == 4).sum())
    cells = []
    for subject in (everybody[0], everybody[len(everybody) // 2], everybody[-1]):
        found = segmenter.segment(subject.box.voxels, subject.box.affine)
        caption = f"{subject.row['sex']}, {float(subject.row['age']):.0f} years"
        cells.append(Cell(caption, subject.box.voxels, found.labels, subject.labels))
    return cells


def virtual(segmenter: Segmenter) -> list[Cell]:
    subject = next(iter(virtual_subjects(UNSEEN, 1)))
    found = segmenter.segment(subject.box.voxels, subject.box.affine)
    return [Cell("virtual", subject.box.voxels, found.labels, subject.labels)]


def printed(source: str, segmenter: Segmenter) -> list[Cell]:
    """Three volumes of the model, 25 mL, 50 mL and what chance says."""
    model = ldm.load(source)
    cells = []
    for number, fixed in enumerate(({}, {"ventricular_volume": 5e4}, {"age": 75.0})):
        row = model.distribution.sample(generator(COVARIATES, 11, number), fixed)
        volume = dequantise(model.generate([row], [(11, number)])[0])
        found = segmenter.segment(volume, model.grid.affine)
        caption = f"demo: {row['sex']}, {row['age']:.0f} years"
        cells.append(Cell(caption, found.box.voxels, found.labels, None))
    return cells


def page(cells: Sequence[Cell]) -> Image.Image:
    columns = [column(cell) for cell in cells]
    width = sum(c.width for c in columns) + GAP * (len(columns) + 1)
    height = max(c.height for c in columns) + 4 * GAP + 46
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    x = GAP
    for cell, picture in zip(cells, columns, strict=True):
        draw.text((x + picture.width // 2, GAP), cell.caption, TEXT, font, anchor="ma")
        sheet.paste(picture, (x, GAP + 20))
        x += picture.width + GAP
    x, y = GAP, height - 2 * GAP - 24
    rows = "rows: image, segmenter, label map (virtual: the truth)"
    for name, colour in zip(labels.NAMES[1:], COLOURS[1:], strict=True):
        draw.rectangle((x, y, x + 12, y + 12), tuple(int(c) for c in colour))
        draw.text((x + 18, y - 2), name, TEXT, font)
        x += 34 + int(draw.textlength(name, font))
    draw.text((GAP, y + GAP + 10), rows, TEXT, font)
    return sheet


def column(cell: Cell) -> Image.Image:
    """The image, the structures found and those known, axial beside coronal."""
    place = np.argwhere(cell.found == labels.VENTRICLE).mean(axis=0).round().astype(int)
    rows = [views(grey(cell.image), place), views(painted(cell.image, cell.found), place)]
    if cell.known is not None:
        rows.append(views(painted(cell.image, cell.known), place))
    return Image.fromarray(np.concatenate(rows, axis=0))


def views(voxels: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Axial and coronal planes through `place` one above the other, 68 mm to each side of it."""
    axial, coronal = voxels[:, :, place[2]], voxels[:, place[1]]
    tiles = []
    for plane, side in ((axial, 92), (coronal, 72)):
        upright = np.swapaxes(plane, 0, 1)[::-1]
        tiles.append(fitted(upright, side, 74))
    tile = np.concatenate(tiles, axis=0)
    return np.repeat(np.repeat(tile, SCALE, axis=0), SCALE, axis=1)


def fitted(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut or padded around the brightest part's box."""
    rows, columns = (np.flatnonzero(tile.sum(axis=2).any(axis=1 - a)) for a in (0, 1))
    top = (rows[0] + rows[-1] - height) // 2 + 1
    left = (columns[0] + columns[-1] - width) // 2 + 1
    padded = np.pad(tile, ((height, height), (width, width), (0, 0)))
    return padded[top + height : top + 2 * height, left + width : left + 2 * width]


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat((255 * np.clip(image, 0, 1)).astype(np.uint8)[..., None], 3, axis=3)


def painted(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    mixed = (1 - ALPHA) * grey(image) + ALPHA * COLOURS[found]
    return np.where(found[..., None] > 0, mixed, 0).astype(np.uint8)


if __name__ == "__main__":
    main()
