"""Give a finished model a refiner, which draws the fine structure of its volumes, with Ray Train.

Of fine structure a diffusion model that saw few people knows little: its last steps mottle. Here
sampling ends at the time step --truncation; its image is decoded, blurred as it is, and a second,
local diffusion model draws what it lacks. It is trained on people: the denoiser's image of each at
that time step or a later one, decoded, and what the person has beyond it. Leaves in --out: model/
(give it to generate --model), tensorboard/ (curves), previews/, checkpoints/. To resume, run the
same command again.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ray_jobs.training.options import (
        DECODER,
        add_cohort,
        add_dry_run,
        add_options,
        add_run,
        add_start,
    )

    parser.add_argument(
        "--model",
        required=True,
        metavar="WHERE",
        help='the finished model: "demo", a folder or an s3:// URI',
    )
    add_cohort(parser)
    add_run(parser, same="that of the model")
    parser.add_argument(
        "--truncation",
        type=int,
        metavar="T",
        help="time step at which sampling ends; by default the model's own, or a quarter "
        "of its schedule: the higher, the more is the refiner's",
    )
    add_start(parser, "refiner")
    parser.add_argument("--name", help="the new model's name in releases; by default the model's")
    add_options(parser, DECODER)
    add_dry_run(parser)
    parser.epilog = """examples:
  brainpress train-decoder --model diffusion/model --cohort prepared --out decoder
  brainpress train-decoder --model demo --from demo --cohort prepared --steps 500 --out decoder
then:
  brainpress generate --model decoder/model --n 16 --out release"""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.training.decoder_job import train_decoder

    return train_decoder(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("train-decoder"))
