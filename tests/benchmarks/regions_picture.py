"""Volumes of the demo model with the label maps that the region tool gives them, as a picture.

python -m tests.benchmarks.regions_picture --picture docs/labels.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import ldm
from ldm.anatomy import labels
from ldm.anatomy.regions import REGIONS
from ldm.measuring.regions import RegionMap, load_region_tool
from ldm.noise import COVARIATES, generator
from ldm.volumes.conversion import dequantise
from tests.benchmarks.segmenter_picture import BACKGROUND, GAP, grey, views

COLOURS = np.array([(0, 0, 0), *(region.colour for region in REGIONS)])
ALPHA, COUNT, SEED = 0.55, 4, 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--tool", type=Path)
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args()
    tool, model = load_region_tool(args.tool), ldm.load(args.model)
    columns = []
    for number in range(COUNT):
        row = model.distribution.sample(generator(COVARIATES, SEED, number))
        volume = dequantise(model.generate([row], [(SEED, number)])[0])
        columns.append(column(tool.segment(volume, model.grid.affine)))
    gap = np.full((len(columns[0]), GAP, 3), BACKGROUND, np.uint8)
    sheet = np.concatenate([part for one in columns for part in (one, gap)][:-1], axis=1)
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(args.picture, optimize=True)
    print(f"wrote {args.picture}")


def column(found: RegionMap) -> np.ndarray:
    """The image above, its label map below; axial and coronal, through the ventricles."""
    image, known = found.segmentation.box.voxels, found.labels
    ventricles = found.segmentation.labels == labels.VENTRICLE
    place = np.argwhere(ventricles).mean(axis=0).round().astype(int)
    return np.concatenate([views(grey(image), place), views(painted(image, known), place)], axis=0)


def painted(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    mixed = (1 - ALPHA) * grey(image) + ALPHA * COLOURS[known]
    return np.where(known[..., None] > 0, mixed, 0).astype(np.uint8)


if __name__ == "__main__":
    main()
