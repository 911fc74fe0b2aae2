"""Is it any good? Measure a release, or several, against a real cohort, on Ray.

Table 1 of the paper (FID, MS-SSIM, 4-G-R-SSIM), how well volumes follow what was asked of them,
morphometry, coverage, and a privacy audit: as JSON, and as a report with pictures in Markdown and
HTML. Run the same command again to go on where it stopped.

The audit passes where it found no copy of a training subject and would have found one: leaks that
it plants itself tell. Else it fails, or is inconclusive: too few volumes or people to tell by.

Whole heads, skull included, are skull-stripped first (deepbet), releases and real people alike, and
every figure is of their brains; heads against brains are refused.

What a release may carry of it (`brainpress publish RELEASE --evaluation FOLDER`): measured.parquet,
with what was measured on each image of the first release, and public/, the report without a picture
or a name of any real person. It holds for the very images that were looked at (images.parquet).
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "releases",
        metavar="[NAME=]RELEASE",
        nargs="+",
        help="a folder or s3://bucket/prefix, with a name for the tables; the first is the one "
        "that the report is about",
    )
    parser.add_argument(
        "--real",
        required=True,
        metavar="FOLDER",
        help="what brainpress prepare wrote: a folder, or s3://bucket/prefix",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the report")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="volumes of each release; by default all"
    )
    parser.add_argument(
        "--pairs", type=int, default=1000, help="for MS-SSIM and 4-G-R-SSIM (default 1000)"
    )
    parser.add_argument(
        "--model", help="what the releases were printed with, for sweeps of one covariate at a time"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the pairs and intervals")
    parser.add_argument(
        "--medicalnet",
        metavar="FILE[#sha256=HEX]",
        help="resnet_50_23dataset.pth, for FID on the paper's features beside our own; another "
        "file than that of the sha256, if you give one, is refused",
    )
    parser.add_argument(
        "--radimagenet",
        metavar="FILE[#sha256=HEX]",
        help="RadImageNet's ResNet50.pt, for FID on its features of slices in three planes",
    )
    parser.add_argument(
        "--latents",
        metavar="FOLDER",
        help="what encode-latents left for the model's training: the audit also compares with "
        "every moved, mirrored and bent copy that the model was shown",
    )
    parser.add_argument("--workers", type=int, help="how many at once; by default one a CPU")
    parser.epilog = """example:
  brainpress generate --n 500 --out release
  brainpress evaluate release --real prepared --out report
  brainpress publish release --license CC-BY-SA-3.0 --author "A. Lab" --evaluation report
the paper's table, each row a release:
  brainpress evaluate ldm=ldm ddim=ddim lsgan=lsgan --real prepared --out table1

Exit code 1 where the privacy audit of the first release failed or was inconclusive; the last lines
and the report say why."""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.evaluation.job import evaluate

    return evaluate(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("evaluate"))
