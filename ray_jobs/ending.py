"""How a job ends: what it made, where to look at it, and the command that comes next."""

from __future__ import annotations

import argparse
import shlex

from manifests.terminal import told_end

# What the README calls the folders of the line; every command that is told says the same.
PREPARED, AUTOENCODER, LATENTS, DIFFUSION = "prepared", "autoencoder", "latents", "diffusion"
_USUAL = "demo"  # the preset that nobody has to name


def command(*words: str) -> str:
    """`brainpress ...` as a shell takes it."""
    return shlex.join(["brainpress", *words])


def with_preset(args: argparse.Namespace) -> list[str]:
    """`--preset NAME` where it is not the usual one: all jobs of a line have the same."""
    return [] if args.preset == _USUAL else ["--preset", str(args.preset)]


def prepared(made: str, args: argparse.Namespace) -> str:
    """The end of prepare."""
    then = ("train-autoencoder", "--cohort", args.out, *with_preset(args), "--out", AUTOENCODER)
    return told_end(made, {"look": command("view", args.out)}, then)


def autoencoder_trained(made: str, args: argparse.Namespace) -> str:
    """The end of train-autoencoder."""
    then = ("encode-latents", "--cohort", args.cohort, "--autoencoder", args.out)
    return told_end(made, _of_run(args.out), (*then, *with_preset(args), "--out", LATENTS))


def encoded(made: str, args: argparse.Namespace) -> str:
    """The end of encode-latents."""
    then = ("train-diffusion", "--latents", args.out, *with_preset(args), "--name", "my-model")
    return told_end(made, {}, (*then, "--out", DIFFUSION))


def model_trained(made: str, out: str) -> str:
    """The end of a training that leaves a model in its folder `out`."""
    model = f"{out.rstrip('/')}/model"
    where = {"model": model, **_of_run(out), "look": command("view", model)}
    return told_end(made, where, printing(model))


def printing(model: str) -> tuple[str, ...]:
    """The words that print with a model."""
    return ("generate", "--model", model, "--n", "16", "--out", "release")


def _of_run(out: str) -> dict[str, str]:
    """Where the pictures and curves of a run are."""
    folder = out.rstrip("/")
    return {"previews": f"{folder}/previews", "curves": f"tensorboard --logdir {folder}"}
