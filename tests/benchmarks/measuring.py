"""How well the atlas measures: against label maps of a cohort's subjects.

    python -m tests.benchmarks.measuring --bids COHORT [--subjects 8] [--skip 4]

COHORT/derivatives holds MUSE label maps (*_dseg.nii.gz; 49-52 the lateral ventricles) and
participants.tsv the column brain_volume_raw. Subjects are spread over the range of ventricles.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from ldm.measuring import choose_engine, measure

VENTRICLES = (49, 50, 51, 52)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--skip", type=int, default=4, help="of the ordered subjects, the first")
    parser.add_argument("--engine", default="atlas")
    args = parser.parse_args()
    engine = choose_engine(args.engine)
    table = pd.read_csv(args.bids / "participants.tsv", sep="\t").sort_values("ventricular_volume")
    places = np.linspace(args.skip, len(table) - 1 - args.skip, args.subjects).round().astype(int)
    rows = []
    for _, person in table.iloc[places].iterrows():
        name = str(person["participant_id"])
        image = nib.load(next((args.bids / name).glob("**/*_T1w.nii.gz")))
        labels = nib.load(next((args.bids / "derivatives").glob(f"**/{name}*_dseg.nii.gz")))
        voxel = float(np.prod(labels.header.get_zooms()[:3]))
        begun = time.process_time()
        found = measure(image, engine)
        rows.append(
            {
                "subject": name,
                "ventricles": float(np.isin(labels.dataobj, VENTRICLES).sum()) * voxel,
                "ventricles_found": found["ventricular_volume"],
                "brain": float(person["brain_volume_raw"]),
                "brain_found": found["brain_volume"],
                "cpu_s": time.process_time() - begun,
            }
        )
        print(pd.DataFrame(rows[-1:]).round(1).to_string(index=False, header=len(rows) == 1))
    told = pd.DataFrame(rows)
    for kind in ("ventricles", "brain"):
        true, seen = told[kind], told[f"{kind}_found"]
        print(
            f"{kind}: r {np.corrcoef(true, seen)[0, 1]:.4f}, of the logarithms "
            f"{np.corrcoef(np.log(true), np.log(seen))[0, 1]:.4f}, bias "
            f"{(seen - true).mean() / 1000:+.1f} mL, ratio {(seen / true).min():.2f} to "
            f"{(seen / true).max():.2f}"
        )


if __name__ == "__main__":
    main()
