"""Train the diffusion model on encoded latents, with Ray Train, and write the finished model.

Leaves in --out: model/ (give it to generate --model), tensorboard/ (curves), previews/ (samples
for a row of rising values of --preview), checkpoints/. To resume, run the same command again.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--latents", required=True, help="folder that encode-latents wrote")
    parser.add_argument("--out", required=True, help="folder of this run")
    parser.add_argument("--preset", default="demo", help="demo, paper or tiny")
    parser.add_argument("--name", default="model", help="the model's name, used in releases")
    parser.add_argument("--description", default="", help="a sentence for the model card")
    parser.add_argument("--license", help="licence of the model, for its card")
    parser.add_argument("--attribution", help="whom to credit, for its card")
    parser.add_argument(
        "--demonstration", action="store_true", help="every release made with it says it is a demo"
    )
    parser.add_argument(
        "--preview",
        metavar="NAME",
        help="covariate that rises along the previews; by default ventricular_volume or the last",
    )
    from ray_jobs.training.options import add_options

    add_options(parser)


def run(args: argparse.Namespace) -> int:
    from ray_jobs.training.diffusion_job import train_diffusion

    return train_diffusion(args)


if __name__ == "__main__":
    from ray_jobs.cli import script

    raise SystemExit(script("train-diffusion"))
