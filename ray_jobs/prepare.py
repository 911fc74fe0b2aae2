"""Turn a BIDS cohort (T1w images and participants.tsv) into volumes a model can train on.

Each image is registered rigidly to MNI space, whatever its orientation and voxel size, put on the
preset's grid and scaled to [0, 1]; the covariates of participants.tsv are checked and joined. Every
image is looked at: a whole head or a brain, tilted, cut off. A subject that cannot be used is
listed with its reason and the options that mend it; previews/prepared.png shows some. Run the same
command again to redo only what is missing or changed.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bids", nargs="?", metavar="BIDS", help="the cohort's BIDS folder")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="folder for the prepared cohort, seen by every machine of the cluster",
    )
    parser.add_argument(
        "--preset",
        default="demo",
        help="demo (2.5 mm, the default), paper (1 mm) or tiny (10 mm, for a try); "
        "the same in all four jobs",
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
        help="blacken all but the brain first (deepbet: pip install 'brainpress[strip]')",
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

    group = parser.add_argument_group("covariates")
    group.add_argument(
        "--covariates",
        metavar="FILE",
        help="JSON schema of the covariates; by default the paper's four: sex, age, "
        "ventricular_volume, brain_volume",
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
        choices=("bids", "virtual"),
        default="bids",
        help="virtual makes a cohort from open anatomy, its true volumes known",
    )
    group.add_argument(
        "--n", type=int, default=200, help="subjects of the virtual cohort (default 200)"
    )
    group.add_argument("--seed", type=int, default=0, help="seed of the virtual cohort (default 0)")
    parser.epilog = """examples:
  brainpress prepare my-bids-cohort --out prepared
  brainpress prepare my-bids-cohort --max-unusable 5% --out prepared
  brainpress prepare whole-heads --preset paper --out prepared
  brainpress prepare whole-heads --skull-strip --measure auto --out prepared
  brainpress prepare already-in-mni-space --placement affine --out prepared
  brainpress prepare --cohort virtual --n 200 --out prepared"""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.preparation.job import prepare

    return prepare(args)


if __name__ == "__main__":
    from ray_jobs.cli import script

    raise SystemExit(script("prepare"))
