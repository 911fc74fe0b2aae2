"""Give every T1w image of a finished release its label map: which voxels are which region.

Writes a BIDS derivative beside the images, derivatives/segmentation/, and regions.parquet, the
volume of every region in mm3, which `brainpress query` filters by. For brains cut out of their
heads. Run the same command again to go on where a run was ended, after the release has grown, or
after samples were drawn again: only what is missing is made.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from manifests.commands.shared import add_release_to_change, at_least_one

    add_release_to_change(parser)
    parser.add_argument(
        "--workers", type=at_least_one, help="how many at once; by default one a CPU"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="make all label maps anew where another tool, or another version of it, drew those "
        "that are there; versions published before keep their volumes, and not their maps",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="read every label map that is there, and make those anew that are damaged",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="make nothing, say how many are missing"
    )
    parser.epilog = """examples:
  brainpress segment release
  brainpress segment s3://bucket/release
  ray job submit --working-dir . -- python ray_jobs/segment.py s3://bucket/release

Exit code 0: every image has its label map; 1: an image could not be segmented, or the run was
ended."""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.segmentation.job import segment

    return segment(
        args.release,
        endpoint_url=args.endpoint_url,
        workers=args.workers,
        replace=args.replace,
        repair=args.repair,
        dry_run=args.dry_run,
    )


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("segment"))
