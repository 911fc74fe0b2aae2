"""Turn a BIDS cohort (images and participants.tsv) into volumes a model can train on.

Each image is registered rigidly to MNI space, whatever its orientation and voxel size, put on the
preset's grid and scaled to [0, 1]; the covariates of participants.tsv are checked and joined. Every
image is looked at: a whole head or a brain, tilted, cut off. A subject that cannot be used is
listed with its reason and the options that mend it; previews/prepared.png shows some. Run the same
command again to redo only what is missing or changed.
"""

from __future__ import annotations

import argparse

WHICH_IMAGE = """Of a participant with several images of a contrast one is used, by the first line
that tells them apart: one that can be read; with --placement affine one in MNI space; a whole head
before a slab; combined before one echo or inversion; plain before contrast-enhanced (ce-);
without affine a native one before space-...; raw before desc-; thin slices before thick; the
first session; the highest resolution; the plainest name; the first run; the first name. A line
says where there was a choice; the column image of subjects.parquet has everybody's path."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bids", nargs="?", metavar="BIDS", help="the cohort's BIDS folder")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="folder for the prepared cohort, seen by every machine of the cluster, or "
        "s3://bucket/prefix",
    )
    parser.add_argument(
        "--preset",
        default="demo",
        help="demo (2.5 mm, the default), paper (1 mm), tiny (10 mm, for a try) or a file, as "
        "brainpress preset writes it; the same in all four jobs",
    )
    parser.add_argument(
        "--placement",
        choices=("centre", "affine", "register"),
        help="register the head or brain to MNI152 by rotation and shift (default, some 5 s a "
        "subject); centre: put the middle of the image in the middle of the grid, so that volumes "
        "and what a model prints lie in no template's space; affine: trust the image to be in MNI "
        "space. With all three the image is registered to see its tilt, whether it lies in MNI "
        "space as affine wants, and what the grid cuts off; a header that swaps left and right is "
        "followed",
    )
    parser.add_argument(
        "--skull-strip",
        action="store_true",
        help="blacken all but the brain first (deepbet: pip install '.[strip]' in a checkout)",
    )
    parser.add_argument(
        "--validation",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of subjects held out, by their id alone (default 0.1)",
    )
    parser.add_argument(
        "--max-unusable",
        metavar="LIMIT",
        help="stop with exit 1 past this many unusable subjects: a count or a share such as 5%%; "
        "by default they are only listed",
    )
    parser.add_argument("--workers", type=int, help="processes at once; by default one a CPU")

    group = parser.add_argument_group("which image", WHICH_IMAGE)
    group.add_argument(
        "--session",
        metavar="NAME",
        help="only this session (01 or ses-01), or all: each session is a sample "
        "(sub-01_ses-02) with the covariates of sub-01_sessions.tsv where it has them, and all "
        "of a person are trained on or all held out; by default the first session that is usable",
    )
    group.add_argument(
        "--image",
        metavar="PATTERN",
        help="only images whose file name fits, such as '*_acq-mprage_*'",
    )

    group.add_argument(
        "--suffix",
        default="T1w",
        metavar="NAME,...",
        help="the contrasts: T1w (default), T2w, PDw, FLAIR or T2starw; of several, such as "
        "T1w,T2w,FLAIR, each of a person is a sample (sub-01_T2w), modality is a covariate, and "
        "all of a person are trained on or all held out. What is known of T1w images alone "
        "(--skull-strip, --measure but synthseg) another contrast takes from the T1w image of the "
        "same session",
    )

    group = parser.add_argument_group("covariates")
    group.add_argument(
        "--covariates",
        metavar="FILE",
        help="JSON schema of the covariates (docs/covariates.md); by default the paper's four: "
        "sex, age, ventricular_volume, brain_volume",
    )
    group.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="the column of participants.tsv that holds a covariate, such as sex=gender; may be "
        "repeated",
    )
    group.add_argument(
        "--levels",
        action="append",
        default=[],
        metavar="NAME=TEXT:LEVEL,...",
        help="what the texts of a column stand for, such as sex=0:F,1:M, where neither they nor "
        '"Levels" in participants.json say it',
    )
    group.add_argument(
        "--units",
        action="append",
        default=[],
        metavar="NAME=UNIT",
        help='the unit of a column, such as age=month, where "Units" in participants.json does not '
        "say it; numbers are converted to the covariate's",
    )
    group.add_argument(
        "--missing",
        choices=("drop-subject", "leave-out"),
        default="drop-subject",
        help="a subject who lacks a covariate is unusable (default), or is trained on with that "
        "one left out, which needs train-diffusion --condition-dropout",
    )
    group.add_argument(
        "--ranges",
        choices=("cohort", "schema"),
        default="cohort",
        help="scale covariates by the cohort's ranges (default), or by those of the schema",
    )
    group.add_argument(
        "--measure",
        choices=("auto", "synthseg", "atlas", "segmenter"),
        help="measure ventricular_volume and brain_volume where participants.tsv lacks them: with "
        "FreeSurfer's mri_synthseg, by registration of an atlas, or auto, the former where it is "
        "on PATH; or with the shipped segmenter, which needs a brain cut out of its head "
        "(--skull-strip does that); without it such subjects are unusable",
    )
    group.add_argument(
        "--normalise-brain-volume",
        action="store_true",
        help="brain_volume is raw: multiply it by the template's intracranial volume over the "
        "subject's, from the column intracranial_volume (mm3) where every subject has it, else "
        "from a registration with 12 degrees of freedom",
    )

    group = parser.add_argument_group("no data at all")
    group.add_argument(
        "--cohort",
        default="bids",
        metavar="virtual|FOLDER",
        help="virtual makes a cohort from open anatomy, its true volumes known; a folder is the "
        "cohort's BIDS folder, as if it stood alone",
    )
    group.add_argument(
        "--n", type=int, default=200, help="subjects of the virtual cohort (default 200)"
    )
    group.add_argument("--seed", type=int, default=0, help="seed of the virtual cohort (default 0)")
    parser.epilog = """examples:
  brainpress prepare my-bids-cohort --out prepared
  brainpress prepare openneuro-set --column sex=gender --levels sex=0:M,1:F --out prepared
  brainpress prepare my-bids-cohort --max-unusable 5% --out prepared
  brainpress prepare my-bids-cohort --session all --out prepared
  brainpress prepare my-bids-cohort --suffix T1w,T2w,FLAIR --out prepared
  brainpress prepare whole-heads --preset paper --out prepared
  brainpress prepare whole-heads --skull-strip --measure auto --out prepared
  brainpress prepare already-in-mni-space --placement affine --out prepared
  brainpress prepare --cohort virtual --n 200 --out prepared"""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.preparation.job import prepare

    return prepare(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("prepare"))
