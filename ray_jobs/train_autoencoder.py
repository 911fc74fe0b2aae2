"""Train the autoencoder on a prepared cohort, with Ray Train.

The loss is L1 + KL and, where they have a weight, a perceptual and a patch-adversarial term. Leaves
in --out: autoencoder/ (the averaged weights), tensorboard/ (curves), previews/ (held-out subjects
above their reconstructions), checkpoints/, and perceptual/ where its network was trained here. To
resume, run the same command again.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cohort", required=True, metavar="FOLDER", help="what brainpress prepare wrote"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="folder of this run, seen by every machine of the cluster",
    )
    parser.add_argument(
        "--preset", default="demo", help="demo (default), paper or tiny; the same in all four jobs"
    )
    parser.add_argument(
        "--perceptual",
        metavar="WHERE",
        help="network of the perceptual term: cohort (trained on it first), monai or monai:NAME "
        "(downloads), the perceptual/ folder of a run, a file of MedicalNet weights, or off",
    )
    from ray_jobs.training.options import AUTOENCODER, add_options, add_start

    add_start(parser, "autoencoder")
    add_options(parser, AUTOENCODER)
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
    from ray_jobs.cli import script

    raise SystemExit(script("train-autoencoder"))
