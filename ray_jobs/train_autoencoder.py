"""Train the autoencoder on a prepared cohort, with Ray Train.

The loss is L1 + KL and, where they have a weight, a perceptual and a patch-adversarial term. Leaves
in --out: autoencoder/ (the averaged weights), tensorboard/ (curves), previews/ (held-out subjects
above their reconstructions), checkpoints/, and perceptual/ where its network was trained here. To
resume, run the same command again.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ray_jobs.training.options import (
        AUTOENCODER,
        add_cohort,
        add_dry_run,
        add_options,
        add_run,
        add_start,
    )

    add_cohort(parser)
    add_run(parser)
    parser.add_argument(
        "--perceptual",
        metavar="WHERE",
        help="network of the perceptual term: cohort (trained on it first), monai or monai:NAME "
        "(downloads), the perceptual/ folder of a run, a file of MedicalNet weights, or off",
    )
    add_start(parser, "autoencoder")
    add_options(parser, AUTOENCODER)
    add_dry_run(parser)
    parser.epilog = """examples:
  brainpress train-autoencoder --cohort prepared --out autoencoder
  brainpress train-autoencoder --cohort prepared --preset paper --workers 8 --gpu --out autoencoder
  brainpress train-autoencoder --cohort prepared --from demo --steps 500 --out tuned
then:
  brainpress encode-latents --cohort prepared --autoencoder autoencoder --out latents"""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.training.autoencoder_job import train_autoencoder

    return train_autoencoder(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("train-autoencoder"))
