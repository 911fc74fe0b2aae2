"""Train the diffusion model on encoded latents, with Ray Train, and write the finished model.

Leaves in --out: model/ (give it to generate --model), tensorboard/ (curves), previews/ (samples
for a row of rising values of --preview), checkpoints/. To resume, run the same command again.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--latents", required=True, metavar="FOLDER", help="what brainpress encode-latents wrote"
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
        "--preview",
        metavar="NAME",
        help="covariate that rises along the previews; by default ventricular_volume or the last",
    )
    group = parser.add_argument_group("what the model says of itself")
    group.add_argument("--name", default="model", help="its name in releases (default model)")
    group.add_argument("--description", default="", help="a sentence for its card")
    group.add_argument("--license", help="its licence; by default the cohort's")
    group.add_argument("--attribution", help="whom to credit; by default whom the cohort names")
    group.add_argument(
        "--demonstration", action="store_true", help="every release made with it says it is a demo"
    )
    from ray_jobs.training.options import add_options

    add_options(parser)
    parser.epilog = """examples:
  brainpress train-diffusion --latents latents --name my-model --out diffusion
  brainpress train-diffusion --latents latents --preset paper --workers 8 --gpu --out diffusion
then:
  brainpress generate --model diffusion/model --n 16 --out release"""


def run(args: argparse.Namespace) -> int:
    from ray_jobs.training.diffusion_job import train_diffusion

    return train_diffusion(args)


if __name__ == "__main__":
    from ray_jobs.cli import script

    raise SystemExit(script("train-diffusion"))
