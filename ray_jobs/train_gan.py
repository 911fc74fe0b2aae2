"""Train a baseline, LSGAN or VAE-GAN in 3D, on a prepared cohort, with Ray Train.

Both are unconditional: what is printed with them was asked for nothing. Leaves in --out: model/
(give it to generate --model), tensorboard/ (curves), previews/ (samples; of a VAE-GAN held-out
subjects beside their reconstructions too), checkpoints/. To resume, run the same command again.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ldm.gan.config import KINDS
    from ray_jobs.training.options import add_about, add_cohort, add_options, add_run

    parser.add_argument(
        "--kind",
        required=True,
        choices=KINDS,
        help="lsgan: least squares GAN (Mao et al. 2017); vae-gan: autoencoding beyond pixels "
        "(Larsen et al. 2016)",
    )
    add_cohort(parser)
    add_run(parser, same="that of the cohort", files=False)
    add_about(parser)
    add_options(parser)
    parser.epilog = """examples:
  brainpress train-gan --kind lsgan --cohort prepared --name my-lsgan --out gan
  brainpress train-gan --kind vae-gan --cohort prepared --preset paper --workers 8 --gpu --out gan
then:
  brainpress generate --model gan/model --n 16 --out release"""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.training.gan_job import train_gan

    return train_gan(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("train-gan"))
