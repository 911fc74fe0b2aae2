"""The command that made something, as its card tells it: without this machine's paths."""

from __future__ import annotations

import argparse
import shlex

from ray_jobs.cli import parser_of

# What the steps of the line call their folders wherever they are told.
FOLDERS = {
    "prepare": "prepared",
    "train-autoencoder": "autoencoder",
    "encode-latents": "latents",
    "train-diffusion": "diffusion",
    "train-private": "private",
    "train-decoder": "decoder",
    "train-gan": "gan",
    "evaluate": "report",
    "calibrate": "calibrated",
}
# Options that say how the work is spread over machines, and do not shape what comes out.
_SPREAD = frozenset({"workers", "gpu", "cpus_per_worker", "retries", "activation_checkpointing"})
_INPUTS = {
    "autoencoder": "train-autoencoder",
    "latents": "encode-latents",
    "real": "prepare",
    "evaluation": "evaluate",
}
# Options whose value is told without the folder that it lies in.
_FILES = frozenset({
    *("bids", "covariates", "start", "perceptual", "medicalnet", "radimagenet", "model", "preset")
})  # fmt: skip


def command_line(verb: str, args: argparse.Namespace) -> str:
    """`brainpress VERB ...` with every option that is not its default; folders by their role."""
    words = []
    for action in sorted(parser_of(verb)._actions, key=lambda action: action.dest == "out"):
        value = getattr(args, action.dest, None)
        if action.dest in _SPREAD or value in (None, action.default):
            continue
        if action.nargs == 0:
            words += [action.option_strings[0]]
        else:
            values = value if isinstance(value, list) else [value]
            words += action.option_strings[:1]
            words += [_role(verb, action.dest, str(each)) for each in values]
    return shlex.join(["brainpress", verb, *words])


def _role(verb: str, option: str, value: str) -> str:
    if option == "out":
        return FOLDERS[verb]
    if option == "cohort" and verb != "prepare":
        return FOLDERS["prepare"]
    if option in _INPUTS:
        return FOLDERS[_INPUTS[option]]
    if option in _FILES:
        return value.rstrip("/").rpartition("/")[2]
    if option == "releases":
        label, equals, place = value.rpartition("=")
        return f"{label}{equals}{place.rstrip('/').rpartition('/')[2]}"
    return value
