"""Preparing one subject: its image on the grid, or the reason why not; done work is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ldm.anatomy.inspection.scan import inspect
from ldm.errors import LdmError
from ldm.volumes.absent import why_absent
from ldm.volumes.background import masked
from ldm.volumes.conversion import placed_affine, quantise, read_scan, to_grid
from ldm.volumes.grid import Grid
from ldm.volumes.orientation import GUESS
from ray_jobs.files import digest, read_json, write_array, write_json
from ray_jobs.preparation.cohort import bytes_of, is_whole
from ray_jobs.preparation.look import look
from ray_jobs.preparation.options import Work
from ray_jobs.preparation.verdicts.verdict import Verdict, of_numbers, unrecognised, verdict

# Goes up when the same image would come out different.
RECIPE_VERSION = 4
# What a mark tells of a subject besides its volume's digest, or the reason why it has none.
FOUND = (
    "measured", "head_scale", "correlation", "contrast", "notes", "inspection", "faults", "told",
)  # fmt: skip

NO_PLACE = (
    "neither qform nor sform says where the image lies (both codes are 0), and --placement affine "
    "would trust them; mend the header, or use centre or register, where left and right are a guess"
)


def recipe(grid: Grid, work: Work) -> str:
    """The digest of all that shapes a prepared volume, and what is told of it, but its image."""
    return digest({"version": RECIPE_VERSION, "grid": grid.to_json(), **work.to_json()})


def kept(
    participant_id: str,
    image: Path,
    volumes: Path,
    grid: Grid,
    work: Work,
    before: Sequence[Path] = (),
) -> dict[str, Any] | None:
    """What `prepare_subject` returned, with "redone" False, where that very work is there."""
    mark = volumes / f"{participant_id}.json"
    try:
        source = _source(image, grid, work, before)
    except OSError:
        return None
    known = read_json(mark)
    why = "sha256"
    if known is None:
        mark, why = refused_folder(volumes) / mark.name, "reason"
        known = read_json(mark)
    if known is None or not is_whole(bytes_of(mark.with_suffix(".npy")), grid):
        return None
    if "notes" not in known:  # of a version that did not look
        return None
    if any(known.get(name) != value for name, value in source.items()):
        return None
    found = {name: known[name] for name in FOUND if known.get(name)}
    return {why: known[why], **found, "redone": False}


def prepare_subject(
    participant_id: str,
    image: Path,
    volumes: Path,
    grid: Grid,
    work: Work,
    before: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write `volumes/<id>.npy` (X, Y, Z) uint16 0..4095, then `<id>.json`, its mark.

    Args:
        before: images that were to be used rather than this one and could not be; the volume is
            made anew when they change.

    Returns:
        `{"sha256", "redone": True}`, where registered with "correlation", "contrast" and
        "head_scale", where measured with "measured", mm3 by name, where something is doubtful with
        "notes", its codes, where inspected with "inspection", and where something is amiss with its
        numbers or with what it shows with "faults", their names, and "told", a line; or
        `{"reason"}` where the image cannot be used. One that is refused for what it shows is
        written like a usable one, but beside `volumes` (`refused_folder`), and has "inspection",
        "faults" and "redone".
    """
    mark = volumes / f"{participant_id}.json"
    target = volumes / f"{participant_id}.npy"
    mark.unlink(missing_ok=True)
    for left in (mark, target):
        (refused_folder(volumes) / left.name).unlink(missing_ok=True)
    try:
        source = _source(image, grid, work, before)
        scan = read_scan(image)
        if work.placement == "affine" and GUESS in scan.notes:
            raise LdmError(NO_PLACE)
        levels, found = _worked(scan.data, scan.affine, grid, work)
    except OSError as error:
        target.unlink(missing_ok=True)
        return {"reason": f"unreadable image ({_why_gone(image) or error.strerror})"}
    except LdmError as error:
        target.unlink(missing_ok=True)
        return {"reason": str(error)}
    notes = [*scan.notes, *found.pop("notes", ())]
    if "reason" in found:
        target.unlink(missing_ok=True)
        refused_folder(volumes).mkdir(exist_ok=True)
        write_array(refused_folder(volumes) / target.name, levels)
        write_json(refused_folder(volumes) / mark.name, {**source, **found, "notes": notes})
        return {**found, "redone": True}
    write_array(target, levels)
    sha256 = hashlib.sha256(levels.tobytes()).hexdigest()
    write_json(mark, {**source, "sha256": sha256, **found, "notes": notes})
    found |= {"notes": notes} if notes else {}
    return {"sha256": sha256, **found, "redone": True}


def refused_folder(volumes: Path) -> Path:
    """Where the volumes lie of those who are refused for what they show, to be looked at."""
    return volumes.with_name("refused")


def _worked(
    data: np.ndarray, affine: np.ndarray, grid: Grid, work: Work
) -> tuple[np.ndarray, dict[str, Any]]:
    """The volume on the grid, uint16, and what was found on the way."""
    found: dict[str, Any] = {}
    seen = look(data, affine, work)
    data, registered, why_not = seen.data, seen.registered, seen.why_not
    about = of_numbers(*seen.amiss)
    to_mni = registered.rigid if registered else None
    if work.registers and registered:
        found["correlation"] = round(registered.correlation, 4)
        found["contrast"] = round(registered.contrast, 4)
        found["head_scale"] = round(registered.head_scale, 6)
    if seen.mask is not None:
        data = masked(data, seen.mask)
    if work.measure:
        found["measured"] = seen.measured
        found["notes"] = seen.notes
    if work.placement == "register":
        assert to_mni is not None
        place = to_mni @ affine
        volume = to_grid(data, place, grid, placement="affine", order=3)
    else:
        place = placed_affine(data.shape, affine, grid, work.placement)
        volume = to_grid(data, affine, grid, placement=work.placement)
    if work.inspect and registered:
        inspection = inspect(data, affine, registered, place, grid)
        found["inspection"] = inspection.to_json()
        about += verdict(inspection, work, grid)
    elif work.inspect:
        about += unrecognised(why_not, work)
    return quantise(volume), found | _told(about)


def _told(about: Verdict) -> dict[str, Any]:
    """What a verdict adds to a subject's outcome; nothing where it is fine."""
    if not about.faults:
        return {}
    return {"faults": about.names, "reason" if about.refused else "told": about.line}


def _why_gone(image: Path) -> str | None:
    """Why a link's content is not there; None where the system's own words say as much."""
    told = why_absent(image)
    return None if told is None or told.startswith("a broken link") else told


def _source(image: Path, grid: Grid, work: Work, before: Sequence[Path] = ()) -> dict[str, Any]:
    """What the mark says a volume was made from."""
    status = image.stat()
    source = {
        "recipe": recipe(grid, work),
        "source_bytes": status.st_size,
        "source_mtime_ns": status.st_mtime_ns,
    }
    if work.guide:
        source["guide"] = _state(Path(work.guide))
    return source | ({"before": [_state(path) for path in before]} if before else {})


def _state(image: Path) -> list[Any]:
    """What tells whether an image that could not be used has changed."""
    try:
        status = image.stat()
    except OSError:
        return [image.name, None, None]
    return [image.name, status.st_size, status.st_mtime_ns]
