"""How good the region tool is, on subjects that it was not trained on.

    python -m tests.benchmarks.regions --bids COHORT [--tool RUN/tool] [--json figures.json]

COHORT/derivatives holds MUSE label maps (*_dseg.nii.gz). Every figure has its 95 % bootstrap
interval over subjects. Prints Markdown; --json writes the figures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ldm.anatomy import regions
from ldm.anatomy.labels import dice
from ldm.evaluation.statistics.intervals import bootstrap
from ldm.measuring.box import SPACING
from ldm.measuring.fitting.subjects import UNSEEN, Labelled, real_subjects
from ldm.measuring.regions import RegionMap, RegionTool, load_region_tool
from ldm.volumes.conversion import to_grid
from tests.benchmarks.segmenter import DEMO_GRID, Rows, show, volumetric

Found = tuple[dict[int, float], dict[str, float], dict[str, float]]
Measure = Callable[[RegionTool, Labelled], tuple[RegionMap, np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--tool", type=Path)
    parser.add_argument("--subjects", type=int, help="the first unseen subjects only")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    tool = load_region_tool(args.tool)
    subjects = list(real_subjects(args.bids, UNSEEN))[: args.subjects]
    told: dict[str, Any] = {}
    conditions: dict[str, Measure] = {
        "real, as scanned, 2 mm": native,
        "real, on the demo model's grid, 2.5 mm": demo_grid,
    }
    for title, measure in conditions.items():
        found = [judged(*measure(tool, subject), subject.regions) for subject in subjects]
        told[title] = show(title, table(found))
        overlap = np.array([[each[0][r.number] for r in regions.REGIONS] for each in found])
        middle = bootstrap(np.mean, np.nanmean(overlap, axis=1))
        print(f"\nmean Dice of the {len(regions.REGIONS)} regions: {middle}")
    told["seconds a volume"] = seconds(tool, subjects[0])
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n")


def native(tool: RegionTool, subject: Labelled) -> tuple[RegionMap, np.ndarray]:
    """What the tool finds, and its label map where the known one has its voxels."""
    found = tool.segment(subject.box.voxels, subject.box.affine)
    return found, found.labels_on(subject.regions.shape, subject.box.affine)


def demo_grid(tool: RegionTool, subject: Labelled) -> tuple[RegionMap, np.ndarray]:
    """The same of the image resampled as `prepare` does."""
    affine = subject.box.affine.copy()
    middle = affine @ [*((np.array(subject.regions.shape) - 1) / 2), 1]
    affine[:3, 3] += np.array(DEMO_GRID.centre) - middle[:3]
    volume = to_grid(subject.box.voxels, affine, DEMO_GRID, placement="affine")
    found = tool.segment(volume, DEMO_GRID.affine)
    return found, found.labels_on(subject.regions.shape, affine)


def judged(found: RegionMap, seen: np.ndarray, known: np.ndarray) -> Found:
    """Dice by region, and the volumes found and known."""
    overlap = {r.number: dice(seen, known, r.number) for r in regions.REGIONS}
    return overlap, found.volumes(), regions.volumes(_told(known), SPACING**3)


def table(found: list[Found]) -> Rows:
    """The figures of every region, over subjects."""
    rows: Rows = {}
    for region in regions.REGIONS:
        overlap = np.array([each[0][region.number] for each in found])
        figures = volumetric(found, region.key)  # type: ignore[arg-type]
        rows[region.name] = {"Dice": bootstrap(np.nanmean, overlap), **figures}
    return rows


def seconds(tool: RegionTool, subject: Labelled) -> dict[str, float]:
    """The best of five, the image in memory, to the label map in the box."""
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        times = list(_times(tool, subject))
        found[f"{threads} core"] = round(min(times), 2)
        print(f"seconds a volume, {threads} core{'s' * (threads > 1)}: {min(times):.2f}")
    return found


def _times(tool: RegionTool, subject: Labelled) -> Iterator[float]:
    for _ in range(5):
        begun = time.perf_counter()
        tool.segment(subject.box.voxels, subject.box.affine).volumes()
        yield time.perf_counter() - begun


def _told(known: np.ndarray) -> np.ndarray:
    return np.where(known == regions.UNKNOWN, 0, known)


if __name__ == "__main__":
    main()
