"""Train the diffusion model on encoded latents, with Ray Train, and write the finished model.

Leaves in --out: model/ (give it to generate --model), tensorboard/ (curves), previews/ (samples
for a row of rising values of --preview), checkpoints/. To resume, run the same command again.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ray_jobs.training.options import (
        DIFFUSION,
        add_about,
        add_dry_run,
        add_options,
        add_run,
        add_start,
    )

    parser.add_argument(
        "--latents",
        required=True,
        metavar="FOLDER",
        help="what brainpress encode-latents wrote: a folder, or s3://bucket/prefix",
    )
    add_run(parser)
    parser.add_argument(
        "--preview",
        metavar="NAME",
        help="covariate that rises along the previews; by default ventricular_volume or the last",
    )
    parser.add_argument(
        "--prediction",
        metavar="WHAT",
        help="what the network learns to say: epsilon, v, x0 or flow; by default the preset's",
    )
    parser.add_argument(
        "--part",
        default="all",
        metavar="WHICH",
        help="branch: train the branch on the latent's own voxels alone, and leave the U-Net of "
        "--from as it is; all, the default, trains both",
    )
    add_about(parser)
    add_start(parser, "U-Net")
    add_options(parser, DIFFUSION)
    add_dry_run(parser)
    parser.epilog = """examples:
  brainpress train-diffusion --latents latents --name my-model --out diffusion
  brainpress train-diffusion --latents latents --preset paper --workers 8 --gpu --out diffusion
  brainpress train-diffusion --latents latents --from demo --steps 500 --out tuned
then:
  brainpress generate --model diffusion/model --n 16 --out release"""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.training.diffusion_job import train_diffusion

    return train_diffusion(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("train-diffusion"))
