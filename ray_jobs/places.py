"""Where the folders of a submitted job lie: not in the copy of the working directory that Ray
makes for a job and removes after it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ray_jobs.errors import JobError

# The options of all verbs that name a folder, or a file too large to travel with a job.
PLACES = {
    "autoencoder": "--autoencoder",
    "bids": "BIDS",
    "cohort": "--cohort",
    "evaluation": "--evaluation",
    "folder": "DIR",
    "latents": "--latents",
    "medicalnet": "--medicalnet",
    "radimagenet": "--radimagenet",
    "model": "--model",
    "out": "--out",
    "perceptual": "--perceptual",
    "real": "--real",
    "release": "RELEASE",
    "releases": "RELEASE",
    "start": "--from",
}
# What stands for no folder: models that are shipped or fetched, cohorts that are made, and so on.
NAMES = {
    "cohort": ("bids", "virtual"),
    "model": ("demo", "monai"),
    "perceptual": ("cohort", "monai", "off"),
    "start": ("demo", "monai"),
}
_FETCHED = "monai:"  # before the folder of a bundle; for --perceptual before a name


def refuse_fleeting(args: argparse.Namespace) -> None:
    """Refuse relative folders in a job that runs in Ray's copy of the working directory.

    What a job writes there is gone after it, and of what it reads there only the driver's machine
    is sure to have a copy. Small files that the driver alone reads, such as a preset, may travel.

    Raises:
        JobError: one of `PLACES` is relative; names it.
    """
    if "runtime_resources" not in Path.cwd().parts:
        return
    for name, text in _named(args):
        place = text.removeprefix(_FETCHED)
        named = text in NAMES.get(name, ()) or "://" in text
        named = named or (name == "perceptual" and place != text)
        if not named and not Path(place).expanduser().is_absolute():
            raise JobError(
                f"{PLACES[name]} {text} would lie in Ray's temporary copy of the working "
                "directory: give an absolute path, or an s3:// URI where the verb takes one"
            )


def _named(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for name in PLACES:
        value = getattr(args, name, None)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield name, text.rpartition("=")[2] if name == "releases" else text


def absolute(source: str) -> str:
    """A folder by its whole path, for workers; names such as "demo", and URIs, as they are."""
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() else source
