"""One real head, stored in ten ways: does registration bring it back, and onto the template?

    python -m tests.benchmarks.registration --head ch2.nii.gz --picture docs/registration.png

Debian's mricron-data has such a head (Colin27, /usr/share/mricron/templates/ch2.nii.gz). Each way
turns it by 10 to 45 degrees about a random axis, shifts it by up to 40 mm along each, cuts it into
other voxels and stores them in another order. Told are the degrees and millimetres (where it is
most in the brain) to where the head as it is lands, the correlation with the template, and where
deepbet is installed the Dice overlap of its brain with the template's. Then: what the paper
preset's grid leaves around the brain and the head. With --bids a cohort is registered instead and
compared with antspyx (`tests.benchmarks.independent`).
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from scipy import ndimage

from ldm.anatomy.pyramid import SPACING, template
from ldm.anatomy.registration import Registration, register
from ldm.anatomy.skull import brain_mask
from ldm.errors import LdmError
from ldm.training.presets import paper
from ldm.volumes.conversion import read_image, to_grid
from ldm.volumes.grid import Grid
from tests.benchmarks import independent
from tests.ldm.heads import difference, turned

SIDES = ((0.8, 0.8, 1.5), (1.0, 1.0, 1.0), (1.2, 1.0, 1.0), (1.5, 0.9, 0.9), (2.0, 1.0, 1.0))
AXES = ("LAS", "PIR", "RAS", "LPI", "SRA", "ALS", "IPL", "RPI", "PSR", "ASL")
FACES = ("left", "right", "posterior", "anterior", "inferior", "superior")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--head", type=Path)
    what.add_argument("--bids", type=Path)
    parser.add_argument("--skull-strip", action="store_true", help="of the cohort's heads")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    if args.bids:
        independent.compare(args.bids, skull_strip=args.skull_strip, picture=args.picture)
        return
    head = nib.as_closest_canonical(nib.load(args.head))
    data, affine = read_image(args.head)
    still = register(data, affine)
    rows = [row(data, affine, still, "as it is", still.rigid)]
    for number, axes in enumerate(AXES):
        degrees, sides = 10 + 35 * number / 9, SIDES[number % 5]
        image, motion = turned(head, seed=number, degrees=degrees, shift=40, sides=sides, axes=axes)
        ras = nib.as_closest_canonical(image)
        seen = np.asarray(ras.dataobj, dtype=np.float32)
        begun = time.process_time()
        found = register(seen, ras.affine)
        took = time.process_time() - begun
        told = f"{degrees:4.1f} deg {'x'.join(map(str, sides))} mm {axes}"
        rows.append(row(seen, ras.affine, found, told, still.rigid @ np.linalg.inv(motion), took))
    try:
        print(f"upside down: contrast {register(data[:, ::-1, ::-1], affine).contrast:.3f}")
    except LdmError as error:
        print(f"upside down: {error}")
    margins(data, affine, still)
    if args.picture:
        args.picture.write_bytes(picture(rows))
        print(f"wrote {args.picture}")


def row(
    data: np.ndarray,
    affine: np.ndarray,
    found: Registration,
    told: str,
    expected: np.ndarray,
    took: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """One line of the table; the volume as stored and as registered at 2 mm."""
    degrees, millimetres = difference(found.rigid, expected)
    grid = Grid(shape=(96, 112, 96), spacing=2.0, centre=paper().grid.centre)
    placed = to_grid(data, found.rigid @ affine, grid, placement="affine", order=3)
    dice = "-"
    if importlib.util.find_spec("deepbet"):
        mask = brain_mask(data, affine, found.rigid).astype(np.float32)
        mine = on(mask, found.rigid @ affine, grid) > 0.5
        theirs = on(template().brain.astype(np.float32), _lattice(), grid) > 0.5
        dice = f"{2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()):.3f}"
    print(
        f"{told:35s} {degrees:5.2f} deg {millimetres:5.2f} mm  correlation "
        f"{found.correlation:.3f}  contrast {found.contrast:.3f}  Dice {dice}  {took:.1f} s",
        flush=True,
    )
    return data, placed


def on(data: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """`data` on a grid, intensities as they are."""
    into = np.linalg.inv(affine) @ grid.affine
    return np.asarray(
        ndimage.affine_transform(data, into[:3, :3], into[:3, 3], grid.shape, order=1)
    )


def _lattice() -> np.ndarray:
    matrix = np.diag([SPACING] * 3 + [1.0])
    matrix[:3, 3] = template().origin
    return matrix


def margins(data: np.ndarray, affine: np.ndarray, found: Registration) -> None:
    """Millimetres between the paper grid's faces and the template's brain, and this head."""
    grid = paper().grid
    first = grid.affine[:3, 3] - grid.spacing / 2
    last = first + grid.spacing * np.array(grid.shape)
    mine = data > 0.15 * np.percentile(data, 99.5)
    mine = ndimage.binary_opening(mine, iterations=2)
    for name, mask, place in (
        ("template's brain", template().brain, _lattice()),
        ("this head", mine, found.rigid @ affine),
    ):
        points = place[:3, :3] @ np.array(np.nonzero(mask)) + place[:3, 3:]
        gaps = np.stack([points.min(axis=1) - first, last - points.max(axis=1)], axis=1).ravel()
        told = ", ".join(f"{face} {gap:.0f}" for face, gap in zip(FACES, gaps, strict=True))
        print(f"paper grid, mm around the {name}: {told}")


def picture(rows: list[tuple[np.ndarray, np.ndarray]]) -> bytes:
    """A column each: as stored above, then sagittal and axial with the template's outline."""
    import io

    grid = Grid(shape=(96, 112, 96), spacing=2.0, centre=paper().grid.centre)
    brain = on(template().brain.astype(np.float32), _lattice(), grid) > 0.5
    edge = brain & ~ndimage.binary_erosion(brain)
    columns = []
    for stored, placed in rows:
        middle = stored[stored.shape[0] // 2] / np.percentile(stored, 99.9)
        zoom = 112 / max(middle.shape)
        tile = np.clip(ndimage.zoom(middle, zoom, order=1), 0, 1)
        cells = [np.repeat(_boxed(tile.T[::-1])[..., None], 3, axis=2)]
        for plane in (np.s_[48], np.s_[:, :, 44]):
            slice_, line = placed[plane], edge[plane]
            coloured = np.repeat(slice_[..., None], 3, axis=2)
            coloured[line] = (1.0, 0.35, 0.2)
            turned_ = coloured.transpose(1, 0, 2)[::-1]
            cells.append(np.stack([_boxed(turned_[..., c]) for c in range(3)], axis=2))
        columns.append(np.concatenate(cells))
    page = (255 * np.clip(np.concatenate(columns, axis=1), 0, 1)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(page).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _boxed(tile: np.ndarray) -> np.ndarray:
    box = np.zeros((116, 116))
    height, width = (min(side, 116) for side in tile.shape)
    top, left = (116 - height) // 2, (116 - width) // 2
    box[top : top + height, left : left + width] = tile[:height, :width]
    return box


if __name__ == "__main__":
    main()
