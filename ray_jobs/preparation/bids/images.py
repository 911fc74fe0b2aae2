"""Which images of a contrast a participant has, and the rule that puts the best of them first.

The rule, each line deciding where those before it do not: what can be read; with placement affine
an image in MNI space; a whole head before a slab; a combined image before one echo or inversion of
it; plain before contrast-enhanced; native space before a resampled one; raw before desc-; thin
slices before thick ones; the first session; the smaller voxels; the fewer entities in its name;
the first run; the first name. Numbers in names count as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ldm.contrasts import T1W
from ldm.errors import LdmError
from ldm.volumes.nifti import examine
from ldm.volumes.orientation import PARTIAL, THICK, Frame
from ray_jobs.preparation.notes import ENHANCED, PIECE

_NIFTI, _OTHER_FORMAT = r"nii(\.gz)?", r"(img|hdr|mgz|mgh|mnc|nrrd|nhdr|mha|mhd|dcm)(\.gz)?"
_CONTRAST = re.compile(
    r"gado|gadolinium|post-?contrast|postgad|withcontrast|^gd|gd$|^ce$|^post$", re.I
)
_ELSEWHERE = frozenset({"derivatives", "sourcedata", "rawdata", "code"})
DEEPEST = 3  # folders between a participant's and anat/


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of a participant; once examined it has a `frame`, or the `problem` with it."""

    path: Path
    session: str | None
    entities: dict[str, str] = field(default_factory=dict)
    frame: Frame | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Images of a participant; what there is instead, and what could not be looked into."""

    images: tuple[Image, ...]
    instead: str = ""
    problems: tuple[str, ...] = ()


def find_images(folder: Path | None, pattern: str | None = None, suffix: str = T1W) -> Found:
    """The images of a contrast in a participant's folder, in the order of their names.

    Args:
        folder: None where the participant has none.
        pattern: of a file's name, as a shell has it; others are left out.
        suffix: the contrast; UNIT1 is not taken for T1w, and is named.
    """
    alike = "(T1w|UNIT1)" if suffix == T1W else suffix
    is_suffix, is_like, is_other = (
        re.compile(form, re.IGNORECASE)
        for form in (
            rf"_{suffix}\.{_NIFTI}$",
            rf"{alike}.*\.{_NIFTI}$",
            rf"_{alike}\.{_OTHER_FORMAT}$",
        )
    )
    images: list[Image] = []
    instead: list[str] = []
    problems: list[str] = []
    for path in _files(folder, problems) if folder else ():
        shown = plain(str(path.relative_to(folder))) if folder else path.name
        if not is_suffix.search(path.name):
            instead += [shown] if is_like.search(path.name) else []
            if is_other.search(path.name):
                instead.append(f"{shown}, expected .nii or .nii.gz")
        elif path.is_dir():
            instead.append(f"{shown}, a folder")
        elif str(path) != plain(str(path)):
            instead.append(f"{shown}, whose name is not UTF-8")
        elif other := _of_another(path, folder):
            instead.append(f"{shown}, named after {other}")
        elif pattern is not None and not fnmatchcase(path.name, pattern):
            instead.append(f"{shown}, not {pattern}")
        else:
            entities = _entities(path.name)
            images.append(Image(path=path, session=_session(path, entities), entities=entities))
    images.sort(key=lambda image: natural(str(image.path)))
    told = "; ".join(sorted([*instead, *problems]))
    return Found(images=tuple(images), instead=told, problems=tuple(problems))


def ranked(images: tuple[Image, ...], placement: str) -> list[Image]:
    """The images, the one to use first; headers are read where there is a choice."""
    if len(images) < 2:
        return list(images)
    judged = [_examined(image) for image in images]
    return sorted(judged, key=lambda image: [key(image) for _, key in _rule(placement)])


def why_first(ordered: list[Image], placement: str) -> str:
    """The line of the rule that put the first of several before the second, and who is broken."""
    rule = _rule(placement)
    words = next((w for w, key in rule if key(ordered[0]) != key(ordered[1])), "the first name")
    broken = [f"{image.path.name}: {image.problem}" for image in ordered if image.problem]
    return f"{words}; {broken[0]}" if broken else words


def doubts(image: Image) -> tuple[str, ...]:
    """Codes of what an image's name says against it."""
    found = ((ENHANCED, _is_enhanced(image)), (PIECE, _is_piece(image)))
    return tuple(code for code, is_so in found if is_so)


def plain(name: str) -> str:
    """A file's name that can be written down: bytes that are no UTF-8 are spelt out."""
    return name.encode("utf-8", "backslashreplace").decode()


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts run-2 before run-10, and upper case with lower."""
    parts = re.split(r"(\d+)", text.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


Key = Callable[[Image], Any]


def _rule(placement: str) -> list[tuple[str, Key]]:
    """The rule: what each line says, and the key that is least for what it prefers."""
    mni: list[tuple[str, Key]] = [
        ("MNI space for --placement affine", lambda image: not _space(image).startswith("mni"))
    ]
    return [
        ("what can be read", lambda image: image.frame is None),
        *(mni if placement == "affine" else []),
        ("a whole head before a slab", lambda image: _noted(image, PARTIAL)),
        ("combined before a single echo or inversion", _is_piece),
        ("plain before contrast-enhanced", _is_enhanced),
        ("native space", lambda image: placement != "affine" and bool(_space(image))),
        ("raw before desc-", lambda image: "desc" in image.entities),
        ("thin slices before thick ones", lambda image: _noted(image, THICK)),
        ("the first session", lambda image: natural(image.session or "")),
        ("higher resolution", _resolution),
        ("fewer entities in its name", lambda image: len(image.entities)),
        ("the first run", lambda image: natural(image.entities.get("run", ""))),
        ("the first name", lambda image: natural(image.path.name)),
    ]


def _files(folder: Path, problems: list[str]) -> Iterator[Path]:
    """What lies in the anat/ folders of a participant, links followed, hidden files left out.

    A folder that cannot be read is added to `problems`.
    """
    seen: set[Path] = set()

    def walk(place: Path, depth: int) -> Iterator[Path]:
        if depth > DEEPEST or (real := place.resolve()) in seen:
            return
        seen.add(real)
        try:
            inside = sorted(place.iterdir())
        except OSError as error:
            problems.append(f"{plain(str(place.relative_to(folder.parent)))}: {error.strerror}")
            return
        for path in inside:
            if path.name.startswith(".") or path.name.casefold() in _ELSEWHERE:
                continue
            if place.name == "anat" and place != folder:
                yield path
            elif path.is_dir():
                yield from walk(path, depth + 1)

    yield from walk(folder, 0)


def _entities(name: str) -> dict[str, str]:
    """`{"sub": "01", "acq": "fse"}` of `sub-01_acq-fse_T1w.nii.gz`."""
    parts = name.partition(".")[0].split("_")[:-1]
    pairs = (part.partition("-") for part in parts)
    return {key.casefold(): label for key, dash, label in pairs if dash}


def _of_another(path: Path, folder: Path | None) -> str | None:
    """Another participant or session than the folder's that a file is named after."""
    entities = _entities(path.name)
    inside = path.relative_to(folder).parent.parts if folder else ()
    places = {name.partition("-")[0]: name for name in (*inside, folder.name if folder else "")}
    for key in ("sub", "ses"):
        if key in entities and key in places:
            named = f"{key}-{entities[key]}"
            if named.casefold() != places[key].casefold():
                return named
    return None


def _session(path: Path, entities: dict[str, str]) -> str | None:
    for parent in path.parents:
        if parent.name.startswith("ses-"):
            return parent.name
        if parent.name.startswith("sub-"):  # the participant's own
            break
    return f"ses-{entities['ses']}" if "ses" in entities else None


def _examined(image: Image) -> Image:
    try:
        return replace(image, frame=examine(image.path))
    except LdmError as error:
        return replace(image, problem=str(error))


def _noted(image: Image, note: str) -> bool:
    return image.frame is not None and note in image.frame.notes


def _is_piece(image: Image) -> bool:
    part = image.entities.get("part", "mag").casefold()
    return part != "mag" or bool({"echo", "inv", "chunk"} & image.entities.keys())


def _is_enhanced(image: Image) -> bool:
    label = image.entities.get("ce", "").casefold()
    if label and not label.startswith(("no", "pre", "plain")):
        return True
    others = (image.entities.get(key, "") for key in ("acq", "rec", "desc"))
    return any(_CONTRAST.search(other) for other in others if not re.match("no|pre", other, re.I))


def _space(image: Image) -> str:
    return image.entities.get("space", "").casefold()


def _resolution(image: Image) -> tuple[float, float]:
    """The longest side of a voxel, then its volume; mm, rounded past what a scanner sets."""
    if image.frame is None:
        return 0.0, 0.0
    sides = image.frame.sides
    return round(float(sides.max()), 1), round(float(sides.prod()), 2)
