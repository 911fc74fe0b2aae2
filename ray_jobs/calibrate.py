"""Tell a model more, or less, than it is asked, so that its volumes follow as people do.

A model that saw few people answers a covariate more weakly than it should, and mixes it up with
others. `brainpress evaluate` measures that answer; this takes its inverse into the model, as what
the network is told instead of what is asked. Nothing is trained, and releases tell what was asked.
"""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  brainpress generate --model diffusion/model --n 500 --out tried
  brainpress evaluate tried --real prepared --out report
  brainpress calibrate diffusion/model --evaluation report --out calibrated
  brainpress generate --model calibrated --n 100000 --out release

Look at a release of the calibrated model by `evaluate` again: what was fitted to one release is
shown on another. Exit code 1 where nothing is to be calibrated."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("model", metavar="MODEL", help='"demo", a model folder or an s3:// URI')
    parser.add_argument(
        "--evaluation",
        required=True,
        metavar="FOLDER",
        help="--out of an evaluate, the first release of which this model printed",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the model")
    parser.add_argument(
        "--covariate",
        action="append",
        metavar="NAME",
        help="calibrate this one, and no other that is not named so; by default those whose slope "
        "differs from the one found in unseen people by more than both intervals",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="how much of the way to go, above 0 to 1 (default 1): the further the network is told "
        "from what it was trained on, the less its volumes look like people's",
    )


def run(args: argparse.Namespace) -> int:
    from ray_jobs.evaluation.calibration import calibrate_model

    return calibrate_model(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("calibrate"))
