"""A model on disk: what its folder holds, written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ldm import contrasts
from ldm.covariates import CovariateSchema
from ldm.covariates.calibration import Calibration
from ldm.covariates.distribution import CohortDistribution
from ldm.diffusion.config import Sampling
from ldm.errors import LdmError
from ldm.folders import SHIPPED, digests, write_folder
from ldm.models.card import render_card
from ldm.models.description import (
    CARD,
    CONFIG,
    DISTRIBUTION,
    FORMAT,
    LATENT_DIFFUSION,
    OF_KIND,
    VERSION,
    ModelDescription,
)
from ldm.untrusted import MOST_BYTES, is_text, one_line, parse_object
from ldm.volumes.brain_size import BrainSize
from ldm.volumes.grid import Grid
from ldm.volumes.quality import ALL_FIGURES, Bounds

# Of the card: what releases, pages and terminals show.
SHOWN = {"name", "description", "license", "release_license", "attribution"}


def write(folder: Path, description: ModelDescription, files: dict[str, bytes]) -> ModelDescription:
    """Write a model folder: made at a side name, then renamed over `folder`.

    Args:
        files: the weight files, by name; the distribution and the card are added here.

    Returns:
        the description with the digests of all files.
    """
    files = dict(files)
    files[DISTRIBUTION] = _dump(description.distribution.to_json())
    files[CARD] = render_card(description).encode()
    described = replace(description, files=digests(files))
    write_folder(folder, {**files, CONFIG: _dump(described.to_json())})
    return described


def describe_folder(source: str | Path) -> ModelDescription:
    """What the model folder at `source` says of itself, without torch and without its weights.

    Args:
        source: "demo", a folder or an s3:// URI.

    Raises:
        LdmError: no model there, a file of it missing or damaged, or a newer format.
    """
    document = _parse(source, CONFIG, read_file(source, CONFIG, most=MOST_BYTES))
    if document.get("format") != FORMAT:
        raise LdmError(f"{source}: {CONFIG} is not a {FORMAT} file; give a model folder")
    if document.get("version") != VERSION:
        raise LdmError(
            f"{source}: model format version {document.get('version')}, this brainpress reads "
            f"version {VERSION}; install the brainpress that wrote it"
        )
    with reading(source):
        files = {
            name: {"sha256": str(entry["sha256"]), "bytes": int(entry["bytes"])}
            for name, entry in document["files"].items()
        }
        if not is_text(document["name"]) or not document["name"]:
            raise ValueError(f"name is {ascii(document['name'])[:60]}, expected one line of text")
        for name in SHOWN & document["card"].keys():
            if not is_text(document["card"][name], lines=True):
                raise ValueError(f"the card's {name} is no text, or has control characters")
    kind = str(document.get("kind", LATENT_DIFFUSION))
    if kind not in OF_KIND:
        raise LdmError(
            f"{source}: a model of kind {kind!r}, this brainpress knows {', '.join(OF_KIND)}; "
            "install the brainpress that wrote it"
        )
    distribution = _parse(source, DISTRIBUTION, verified(source, DISTRIBUTION, files))
    with reading(source):
        size = document.get("brain_size")
        own = {name: document[name] for name in OF_KIND[kind]}
        for name in {"latent_mean", "latent_std"} & own.keys():
            own[name] = tuple(float(x) for x in own[name])
        schema = CovariateSchema.from_json({"covariates": document["covariates"]})
        return ModelDescription(
            name=document["name"],
            card=document["card"],
            schema=schema,
            distribution=CohortDistribution.from_json(distribution),
            grid=Grid.from_json(document["grid"]),
            kind=kind,
            **own,
            bounds=_bounds(document["bounds"]),
            bounds_of={str(k): _bounds(v) for k, v in document.get("bounds_of", {}).items()},
            suffixes=contrasts.from_json(document),
            brain_size=BrainSize.from_json(size) if size is not None else None,
            calibration=Calibration.from_json(document.get("calibration", {}), schema),
            sampling=Sampling.from_json(document.get("sampling", {})),
            files=files,
        )


def _bounds(document: dict[str, Any]) -> Bounds:
    """The bounds of quality figures; ValueError for a figure that is not measured here."""
    for name, (low, high) in document.items():
        if name not in ALL_FIGURES:
            raise ValueError(f"bounds of {name!r}, expected some of {', '.join(ALL_FIGURES)}")
        if not float(low) <= float(high):
            raise ValueError(f"bounds of {name}: {low} to {high}")
    return {name: (float(low), float(high)) for name, (low, high) in document.items()}


@contextmanager
def reading(source: str | Path, name: str = CONFIG) -> Iterator[None]:
    """Tell in one line what is wrong with the config `name` whose fields are read in the block.

    Raises:
        LdmError: a field that is missing, of another kind, or refused by what it describes.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        reason = str(error) if isinstance(error, LdmError) else f"{type(error).__name__}: {error}"
        reason = one_line(reason)[:300]
        raise LdmError(
            f"{source}: {name} is damaged ({reason}); copy the model folder again"
        ) from error


def verified(source: str | Path, name: str, files: dict[str, dict[str, Any]]) -> bytes:
    """The bytes of a model's file, its size and sha256 checked.

    Raises:
        LdmError: missing, or not what the model's config says.
    """
    if name not in files:
        raise LdmError(f"{source}: {CONFIG} does not list {name}; copy the model folder again")
    want = files[name]
    data = read_file(source, name, most=max(want["bytes"], 0) + 1)
    if len(data) != want["bytes"]:
        raise LdmError(
            f"{source}: {name} has {len(data):,} bytes, expected {want['bytes']:,}; "
            "copy the model folder again"
        )
    if hashlib.sha256(data).hexdigest() != want["sha256"]:
        raise LdmError(
            f"{source}: {name} is damaged (its sha256 is not that of {CONFIG}); "
            "copy the model folder again"
        )
    return data


def read_file(source: str | Path, name: str, *, most: int) -> bytes:
    """The bytes of one file of the model at `source`, the first `most` of a larger one.

    Raises:
        LdmError: it cannot be read, with the reason.
    """
    if str(source).startswith("s3://"):
        return _read_s3(f"{str(source).rstrip('/')}/{name}", most)
    folder = SHIPPED / "demo" if str(source) == "demo" else Path(source)
    try:
        path = folder / name
        size = path.stat().st_size
        if not path.is_file():  # a pipe would be waited for
            raise LdmError(f"{source}: {name} is not a file; copy the model folder again")
        with path.open("rb") as stream:
            return stream.read(min(size, most))
    except FileNotFoundError:
        if not folder.is_dir():
            raise LdmError(
                f'no model {str(source)!r}: expected "demo", a model folder or an s3:// URI, or '
                'a MONAI bundle as "monai" or "monai:DIR"'
            ) from None
        raise LdmError(
            f"{source}: {name} is missing; expected a model folder with {CONFIG}, "
            f"{DISTRIBUTION} and its weights"
        ) from None
    except OSError as error:
        raise LdmError(f"{source}: {name} cannot be read ({error.strerror})") from error


def _read_s3(uri: str, most: int) -> bytes:
    import smart_open

    endpoints = map(os.environ.get, ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    if any("@" in (address or "") or "?" in (address or "") for address in (uri, *endpoints)):
        raise LdmError(
            "a model's s3:// address, or AWS_ENDPOINT_URL, with credentials or a query in it: "
            "expected s3://bucket/folder, and the credentials in the environment"
        )
    try:
        with smart_open.open(uri, "rb") as stream:
            data: bytes = stream.read(most)
            return data
    except Exception as error:  # botocore's and smart_open's errors, told in one line
        reason = str(error).split("\n")[0]
        raise LdmError(f"{uri} cannot be read: {reason}") from None


def _parse(source: str | Path, name: str, data: bytes) -> dict[str, Any]:
    try:
        return parse_object(data)
    except ValueError as error:
        raise LdmError(f"{source}: {name} is not JSON ({error}); copy the model again") from None


def _dump(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
