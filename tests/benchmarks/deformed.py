"""What bent copies are said to measure, against the segmenter.

    python -m tests.benchmarks.deformed --cohort PREPARED [--subjects 12] [--copies 4]

PREPARED is what `brainpress prepare` wrote, brains cut out of their heads. Subjects are those that
neither the segmenter's training nor the model's saw. Every figure has its 95 % bootstrap interval
over copies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from ldm.anatomy.copies import WHOLE
from ldm.anatomy.deformed import CHANGED, deformed
from ldm.evaluation.conditioning import relation
from ldm.measuring.segmenter import load_segmenter
from ldm.volumes.conversion import read_volume
from ray_jobs.preparation.cohort import PreparedCohort


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--copies", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cohort, segmenter = PreparedCohort.open(args.cohort), load_segmenter()
    affine, spacing = cohort.grid.affine, cohort.grid.spacing
    rows = cohort.split("validation")[: args.subjects]
    said: dict[str, list[float]] = {name: [] for name in CHANGED}
    found: dict[str, list[float]] = {name: [] for name in CHANGED}
    for number, path in enumerate(rows["volume"]):
        volume = read_volume(cohort.folder / path)
        own = segmenter.segment(volume, affine)
        shares, before = own.shares_on(volume.shape, affine), covariates(own.volumes())
        for copy in range(WHOLE, WHOLE + args.copies):
            bent = deformed(volume, shares, spacing, number, copy)
            after = covariates(segmenter.measure(bent.volume, affine))
            for name in CHANGED:
                said[name].append(np.log(bent.factors[name]))
                found[name].append(np.log(after[name] / before[name]))
    print(f"{len(rows)} subjects, {args.copies} copies each, logarithms of factors\n")
    print("| covariate | spread said | r | slope |\n|---|---|---|---|")
    for name in CHANGED:
        told = relation(np.array(said[name]), np.array(found[name]))
        print(f"| {name} | {np.std(said[name]):.3f} | {told.r} | {told.slope} |")


def covariates(volumes: dict[str, float]) -> dict[str, float]:
    """Ventricular volume, and the tissue's share of the head, of which the other is a multiple."""
    share = volumes["brain_volume"] / volumes["intracranial_volume"]
    return dict(zip(CHANGED, (volumes["ventricular_volume"], share), strict=True))


if __name__ == "__main__":
    main()
