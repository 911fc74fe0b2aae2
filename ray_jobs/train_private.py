"""Train a public model further on people who must stay hidden, with differential privacy (DP-SGD).

What the cohort gives is the weights of the U-Net alone, with noise upon them; autoencoder,
distribution of the covariates, ranges and quality check stay those of --from, a model that was
trained on open people, or on virtual ones. The card states epsilon and delta for what one person
can give away. Leaves in --out: model/, and for your eyes alone the curves of the people themselves.
"""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  brainpress encode-latents --cohort prepared --autoencoder public/autoencoder --out latents
  brainpress train-private --latents latents --from public/diffusion --epsilon 10 --out private
then:
  brainpress generate --model private/model --n 16 --out release

Every run on the same people spends anew: the epsilons of two models that are given away add up."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ldm.training.private.config import BIASES, TUNED
    from ray_jobs.training.options import add_about, add_private

    parser.epilog = EXAMPLES
    parser.add_argument(
        "--latents",
        required=True,
        metavar="FOLDER",
        help="of the people, encoded by the autoencoder of --from: what brainpress encode-latents "
        "wrote, a folder or s3://bucket/prefix",
    )
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="WHERE",
        help="the public model: a run of train-diffusion, or a model as in generate --model; its "
        "autoencoder must not have seen the people either",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="folder of this run, seen by every machine of the cluster, or s3://bucket/prefix",
    )
    group = parser.add_argument_group("what is promised")
    group.add_argument(
        "--epsilon",
        type=float,
        required=True,
        metavar="E",
        help="by a factor of e^E at most a person changes the chance of any model (Dwork et al. "
        "2006): 1 hides well, 10 is what large models are trained with",
    )
    group.add_argument(
        "--delta",
        type=float,
        metavar="D",
        help="but for this chance; by default a tenth of one over the number of people",
    )
    group.add_argument(
        "--people-per-step",
        type=float,
        metavar="N",
        help="people a step takes on average, by chance (default: a quarter of them)",
    )
    group.add_argument(
        "--draws",
        type=int,
        default=4,
        metavar="N",
        help="noisy latents of a person a step: more make a person's gradient surer, cost no "
        "privacy, and time (default 4)",
    )
    group.add_argument(
        "--tune",
        choices=TUNED,
        default=BIASES,
        help="biases and the gains of normalisations (default), which noise leaves something of "
        "also with few people, or all weights",
    )
    parser.add_argument(
        "--preview",
        metavar="NAME",
        help="covariate that rises along the previews; by default ventricular_volume or the last",
    )
    add_about(parser)
    add_private(parser)


def run(args: argparse.Namespace) -> int:
    from ray_jobs.training.private_job import train_private

    return train_private(args)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("train-private"))
