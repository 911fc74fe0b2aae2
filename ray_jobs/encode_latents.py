"""Encode a prepared cohort once with a trained autoencoder, on Ray Data.

Writes mean and log-variance of every subject's latent, for train-diffusion. Copies moved rigidly
by a few degrees and millimetres, and mirrored, are encoded too; with --deform they are bent into
other anatomies, with covariates of their own. Run the same command again to encode only what is
missing.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ray_jobs.training.options import add_cohort, add_run

    add_cohort(parser)
    parser.add_argument(
        "--autoencoder",
        required=True,
        metavar="WHERE",
        help="the --out of a brainpress train-autoencoder that ended: a folder, or s3://; or a "
        "model, as in generate --model, to train its diffusion model on",
    )
    add_run(parser, folder="folder for the latents")
    parser.add_argument(
        "--copies",
        type=int,
        help="of each volume, itself and its mirror image first; by default the preset's number",
    )
    parser.add_argument(
        "--latent-scale",
        metavar="HOW",
        help="channel: train-diffusion sees each channel of the latent divided by its own "
        "deviation; one: all by the same factor, as in the paper, so that strong channels stay "
        "strong; by default the preset's",
    )
    parser.add_argument(
        "--deform",
        action="store_true",
        help="bend the third copy and all later ones into other anatomies, ventricular and brain "
        "volume with them, so that a small cohort's covariates do not tell who it is; for brains "
        "cut out of their heads",
    )
    parser.add_argument("--workers", type=int, help="how many at once; by default one a CPU or GPU")
    parser.add_argument("--gpu", action="store_true", help="one GPU a worker")
    parser.epilog = """example:
  brainpress encode-latents --cohort prepared --autoencoder autoencoder --out latents
then:
  brainpress train-diffusion --latents latents --out diffusion
another cohort for a model that is there:
  brainpress encode-latents --cohort prepared --autoencoder demo --out latents
  brainpress train-diffusion --latents latents --from demo --steps 500 --out tuned"""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.encoding.job import encode_latents

    return encode_latents(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("encode-latents"))
