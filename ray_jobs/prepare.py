"""Turn a BIDS cohort (T1w images and participants.tsv) into volumes a model can train on.

Each image is reoriented to RAS, resampled to the preset's spacing, cropped or padded to its
shape and scaled to [0, 1]; the covariates of participants.tsv are checked and joined. A subject
that cannot be used is listed with its reason. Run the same command again to redo only what is
missing or changed. With no data at all: --cohort virtual --n 200.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bids", nargs="?", metavar="BIDS", help="the cohort's BIDS folder")
    parser.add_argument("--out", required=True, help="folder for the prepared cohort")
    parser.add_argument(
        "--cohort",
        choices=("bids", "virtual"),
        default="bids",
        help="virtual makes a cohort of --n subjects from open anatomy, true volumes known",
    )
    parser.add_argument("--n", type=int, default=200, help="subjects of the virtual cohort")
    parser.add_argument("--seed", type=int, default=0, help="seed of the virtual cohort")
    parser.add_argument("--preset", default="demo", help="demo (2.5 mm), paper (1 mm) or tiny")
    parser.add_argument(
        "--placement",
        choices=("centre", "affine"),
        default="centre",
        help="centre the image on the grid, or trust its affine to be MNI space",
    )
    parser.add_argument(
        "--covariates",
        metavar="FILE",
        help="JSON schema of the covariates; by default the paper's four: sex, age, "
        "ventricular_volume, brain_volume",
    )
    parser.add_argument(
        "--ranges",
        choices=("cohort", "schema"),
        default="cohort",
        help="scale covariates by the cohort's ranges, or by those of the schema",
    )
    parser.add_argument(
        "--validation", type=float, default=0.1, help="share of subjects held out, by their id"
    )
    parser.add_argument(
        "--max-unusable",
        metavar="LIMIT",
        help="stop with exit 1 past this many unusable subjects: a count or a share such as 5%%",
    )
    parser.add_argument("--workers", type=int, help="processes at once; by default one a CPU")


def run(args: argparse.Namespace) -> int:
    from ray_jobs.preparation.job import prepare

    return prepare(args)


if __name__ == "__main__":
    from ray_jobs.cli import script

    raise SystemExit(script("prepare"))
