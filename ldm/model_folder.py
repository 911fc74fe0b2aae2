"""A model on disk: what its folder holds, written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ldm.brain_size import BrainSize
from ldm.bundle.source import INFERENCE, is_bundle
from ldm.calibration import Calibration
from ldm.cohort_distribution import CohortDistribution
from ldm.covariates import CovariateSchema
from ldm.errors import LdmError
from ldm.grid import Grid
from ldm.json_text import MOST_BYTES, parse_object
from ldm.quality import ALL_FIGURES, DEFAULT_BOUNDS, Bounds
from ldm.sampling import Sampling
from ldm.text import is_text, markdown, one_line

FORMAT = "brainpress-model"
VERSION = 1
CONFIG, DISTRIBUTION, CARD = "model.json", "covariates.json", "README.md"
AUTOENCODER, DENOISER = "autoencoder.safetensors", "denoiser.safetensors"
GENERATOR = "generator.safetensors"
LATENT_DIFFUSION, GAN = "latent-diffusion", "gan"
# What a release calls the "sampler" of a model that needs none.
ONE_PASS = "generator"
# What model.json tells of a model of each kind, beside what it tells of all.
_OF_KIND = {
    LATENT_DIFFUSION: ("autoencoder", "denoiser", "schedule", "latent_mean", "latent_std"),
    GAN: ("generator",),
}
# Of the card: what releases, pages and terminals show.
SHOWN = {"name", "description", "license", "release_license", "attribution"}
SHIPPED = Path(__file__).parent / "models"


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """All that is said of a model, without its weights.

    Attributes:
        name: short name, used in releases.
        card: name, description, license, attribution, demo (bool), training (dict), and where it
            was made better step by step, `tries`: what was tried and what was found.
        schema, distribution: the covariates and how the cohort's are distributed.
        grid: where its voxels lie.
        kind: "latent-diffusion" (where the file says nothing) or "gan".
        autoencoder, denoiser, schedule: the configs of `ldm.networks` and `ldm.schedule`.
        latent_mean, latent_std: per channel; the diffusion model sees (z - mean) / std.
        generator: the config of `ldm.gan.networks.Generator`, of a GAN alone.
        bounds: what `ldm.quality.check` accepts.
        brain_size: what tells it the size of a brain; None where the cohort does not.
        calibration: what its network is told instead of what is asked.
        sampling: how it is sampled where the user does not say.
        files: sha256 and bytes of every other file of the folder.
    """

    name: str
    card: dict[str, Any]
    schema: CovariateSchema
    distribution: CohortDistribution
    grid: Grid
    kind: str = LATENT_DIFFUSION
    autoencoder: dict[str, Any] = field(default_factory=dict)
    denoiser: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    latent_mean: tuple[float, ...] = ()
    latent_std: tuple[float, ...] = ()
    generator: dict[str, Any] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=lambda: dict(DEFAULT_BOUNDS))
    brain_size: BrainSize | None = None
    calibration: Calibration = field(default_factory=Calibration)
    sampling: Sampling = field(default_factory=Sampling)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """sha256, hexadecimal, of everything that shapes a sample drawn in a given way; the card
        does not, nor does the way that is usual."""
        document = self.to_json()
        document.pop("card")
        document.pop("sampling", None)
        document["files"].pop(CARD, None)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The document of model.json: the fields of this kind, and no word of the default kind."""
        own = {name: _plain(getattr(self, name)) for name in _OF_KIND[self.kind]}
        calibration, sampling = self.calibration.to_json(), self.sampling.to_json()
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "card": self.card,
            "covariates": self.schema.to_json()["covariates"],
            **({} if self.kind == LATENT_DIFFUSION else {"kind": self.kind}),
            "grid": self.grid.to_json(),
            **own,
            "bounds": {name: [float(x) for x in pair] for name, pair in self.bounds.items()},
            **({"brain_size": self.brain_size.to_json()} if self.brain_size else {}),
            **({"calibration": calibration} if calibration else {}),
            **({"sampling": sampling} if sampling else {}),
            "files": dict(self.files),
        }


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
    described = replace(
        description,
        files=digests(files),
    )
    write_folder(folder, {**files, CONFIG: _dump(described.to_json())})
    return described


def digests(files: dict[str, bytes]) -> dict[str, Any]:
    """Size and digest of each file, by name, as a description tells them."""
    return {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in sorted(files.items())
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write files to a side folder, then rename it over `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    side = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    side.chmod(0o755)
    for name, data in files.items():
        (side / name).write_bytes(data)
    replace_folder(side, folder)


def replace_folder(side: Path, folder: Path) -> None:
    """Put `side` in the place of `folder`; what was there is removed afterwards."""
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.rename(folder, old / folder.name)
        os.rename(side, folder)
        shutil.rmtree(old)
    else:
        os.rename(side, folder)


def describe(source: str | Path) -> ModelDescription:
    """What the model at `source` says of itself, without torch and without its weights.

    Args:
        source: "demo", a folder, an s3:// URI, or a MONAI bundle as "monai" or "monai:DIR".

    Raises:
        LdmError: no model there, a file of it missing or damaged, or a newer format.
    """
    if is_bundle(source):
        from ldm.bundle.description import describe_bundle

        return describe_bundle(source)
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
    if kind not in _OF_KIND:
        raise LdmError(
            f"{source}: a model of kind {kind!r}, this brainpress knows {', '.join(_OF_KIND)}; "
            "install the brainpress that wrote it"
        )
    distribution = _parse(source, DISTRIBUTION, verified(source, DISTRIBUTION, files))
    with reading(source):
        size = document.get("brain_size")
        own = {name: document[name] for name in _OF_KIND[kind]}
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
def reading(source: str | Path) -> Iterator[None]:
    """Tell in one line what is wrong with a config whose fields are read in the block.

    Raises:
        LdmError: a field that is missing, of another kind, or refused by what it describes.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        reason = str(error) if isinstance(error, LdmError) else f"{type(error).__name__}: {error}"
        reason = one_line(reason)[:300]
        raise LdmError(
            f"{source}: {INFERENCE if is_bundle(source) else CONFIG} is damaged ({reason}); "
            "copy the model folder again"
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


def _plain(value: Any) -> Any:
    """A field as JSON has it."""
    return [float(x) for x in value] if isinstance(value, tuple) else value


def _dump(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def render_card(description: ModelDescription) -> str:
    """The model card (README.md of the folder), Markdown."""
    card = description.card
    lines = [f"# {markdown(card.get('name', description.name))}", ""]
    lines += [markdown(card.get("description", "")), ""]
    if card.get("demo"):
        lines += ["**A demonstration**: not for research conclusions.", ""]
    side = " x ".join(map(str, description.grid.shape))
    drawn = description.kind == LATENT_DIFFUSION
    lines += [
        f"- Volumes: {side} voxels, {description.grid.spacing:g} mm, MNI space",
        *([f"- Sampled with {description.sampling.text}, unless told otherwise"] if drawn else []),
        f"- Licence: {markdown(card.get('license', 'not stated'))}",
        f"- Attribution: {markdown(card.get('attribution', 'none'))}",
        "",
        "## Covariates",
        "",
        *_covariate_table(description.schema),
        *_calibration(description),
    ]
    lines += _tries(card.get("tries"))
    lines += ["", "## How it was trained", "", "```json"]
    lines += [json.dumps(card.get("training", {}), indent=1), "```", ""]
    return "\n".join(lines)


def _calibration(description: ModelDescription) -> list[str]:
    """A table of what the network is told; nothing where that is what is asked."""
    planes, names = description.calibration.planes, description.schema.names
    if not planes:
        return []
    lines = [
        "",
        "Calibrated: what the network is told, of what is asked, all scaled to 0..1:",
        "",
        f"| told | {' | '.join(names)} | constant |",
        f"|---|{'---|' * len(names)}---|",
    ]
    for name, plane in planes.items():
        weights = " | ".join(f"{plane.weights.get(of, 0):.3g}" for of in names)
        lines.append(f"| {name} | {weights} | {plane.constant:.3g} |")
    return lines


def _tries(tries: Any) -> list[str]:
    """A table of them; nothing of what is none."""
    told = [one for one in tries if isinstance(one, dict)] if isinstance(tries, list) else []
    if not told:
        return []
    rows = [[markdown(one.get(name, "")) for name in ("tried", "found")] for one in told]
    head = ["", "## What was tried", "", "| tried | found |", "|---|---|"]
    return [*head, *(f"| {tried} | {found} |" for tried, found in rows)]


def _covariate_table(schema: CovariateSchema) -> list[str]:
    if not len(schema):
        return ["None: the model is unconditional."]
    lines = ["| name | unit | range or levels | meaning |", "|---|---|---|---|"]
    for c in schema.covariates:
        levels = ", ".join(map(markdown, c.levels))
        extent = f"{c.minimum:g} to {c.maximum:g}" if c.is_continuous else levels
        lines.append(f"| {c.name} | {markdown(c.unit)} | {extent} | {markdown(c.description)} |")
    return lines
