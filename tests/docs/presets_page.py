"""Writes docs/presets.md: every field of a preset's file, as the classes that it configures tell.

python -m tests.docs.presets_page
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from ldm.training.config import TrainingConfig
from ldm.training.presets import PRESETS, Preset
from ldm.training.presets import fields as preset_fields
from tests import ROOT

PAGE = ROOT / "docs" / "presets.md"

_HEAD = """\
# Presets

A preset is the grid, the networks and the numbers that the jobs of a training line must agree on:
`prepare`, `train-autoencoder`, `encode-latents`, `train-diffusion` and `train-decoder` take the
same one. Four come with the package: `demo` (2.5 mm, two CPU cores), `lab` (1.5 mm, one GPU of
24 GB and a night), `paper` (1 mm, Pinaya et al. 2022) and `tiny` (10 mm, for a try). Any other is
a file:

    brainpress preset demo --out my-preset.json
    brainpress preset my-preset.json
    brainpress prepare cohort --preset my-preset.json --out prepared

The first writes every field with its value; edit what you like. The second checks it and prints it
in full; as in every job, before it begins, a field that is unknown, missing, of another type or
does not work is told in one line. A field with a default may be left out.

The file is read once, by the machine that the command runs on, and handed on to the workers. What
of it shapes a run's weights is part of what the run is: begun with one value and resumed with
another, the run is refused with the field that differs. A model's card has its preset's fields.
Options such as `--steps` stand above the preset's numbers. Baselines (`train-gan`) have presets of
their own: demo, paper and tiny."""

_TRAINING = """\
## train_autoencoder, train_diffusion, train_decoder, train_features

How each network is trained; `features` is the network of the perceptual term, trained where
`perceptual` is `cohort` and that term has a weight. Their values are in the files.

"""

_NOTE = {
    "grid": "Every side must divide by the factors of autoencoder and U-Net together: `patch` "
    "times 2 for every level after the first, of each.",
    "denoiser": "Its channels of the latent are the autoencoder's, its number of covariates the "
    "cohort's.",
    "schedule": "`train-diffusion --prediction` stands above it.",
}


def presets_page() -> str:
    """The page, as Markdown."""
    named = {name: preset_fields.told(make()) for name, make in PRESETS.items()}
    tops, parts = [], []
    for name, text in attributes(Preset).items():
        kind = _kind(name)
        if name == "name":
            continue
        if kind is TrainingConfig:
            continue
        if kind is None:
            tops.append(_line(Preset, "", name, text, named))
            continue
        note = f" {_NOTE[name]}" if name in _NOTE else ""
        told = attributes(kind)
        rows = [_line(kind, name, f, told[f], named) for f in preset_fields.names(kind, name)]
        parts.append(f"## {name}\n\n{_sentence(text)}{note}\n\n" + _table(rows))
    own = "## Fields of its own\n\n" + _table(tops)
    return "\n\n".join([_HEAD, own, *parts, _TRAINING + _trainings()]) + "\n"


def _trainings() -> str:
    """The fields of the four trainings, and which of them has each."""
    parts = [name for name in attributes(Preset) if name.startswith("train_")]
    rows = ["| field | type | meaning | of |", "|---|---|---|---|"]
    for name, text in attributes(TrainingConfig).items():
        has = [part for part in parts if name in preset_fields.names(TrainingConfig, part)]
        stages = "all" if has == parts else ", ".join(part.removeprefix("train_") for part in has)
        kind = preset_fields.type_words(TrainingConfig, name)
        rows.append(f"| `{name}` | {kind} | {_cell(text)} | {stages} |")
    return "\n".join(rows)


def attributes(kind: type) -> dict[str, str]:
    """What the docstring of a config says of each of its fields."""
    lines = (inspect.getdoc(kind) or "").split("Attributes:\n")[1].split("\n")
    told: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if not line.startswith(" "):
            break
        begins = re.match(r"    (\w[a-z_0-9, ]*): (.*)", line)
        if begins:
            names = begins[1].split(", ")
        for name in names:
            told[name] = begins[2] if begins else f"{told[name]} {line.strip()}"
    return told


def _kind(name: str) -> type | None:
    """The class of a part of a preset; None of a field of its own."""
    hint = inspect.get_annotations(Preset, eval_str=True)[name]
    return hint if hasattr(hint, "__dataclass_fields__") else None


def _line(kind: type, part: str, name: str, text: str, named: dict[str, Any]) -> str:
    values = [table[part][name] if part else table[name] for table in named.values()]
    cells = [f"`{name}`", preset_fields.type_words(kind, name), _cell(text)]
    return f"| {' | '.join([*cells, *(f'`{json.dumps(value)}`' for value in values)])} |"


def _cell(text: str) -> str:
    return _sentence(text).replace("|", "\\|")


def _sentence(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return f"{text[0].upper()}{text[1:]}."


def _table(rows: list[str]) -> str:
    head = f"| field | type | meaning | {' | '.join(PRESETS)} |"
    return "\n".join([head, "|---" * (3 + len(PRESETS)) + "|", *rows])


if __name__ == "__main__":
    PAGE.write_text(presets_page())
