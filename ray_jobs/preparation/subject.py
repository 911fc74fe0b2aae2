"""Preparing one subject: its image on the grid, or the reason why not; done work is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ldm.anatomy import registration, skull
from ldm.errors import LdmError
from ldm.measuring import measure
from ldm.volumes.background import masked, settled
from ldm.volumes.conversion import quantise, read_image, to_grid
from ldm.volumes.grid import Grid
from ray_jobs.files import digest, read_json, write_array, write_json
from ray_jobs.preparation.cohort import is_whole
from ray_jobs.preparation.options import Work

# Goes up when the same image would come out different.
RECIPE_VERSION = 2
# What a mark tells of a subject besides its volume's digest.
FOUND = ("measured", "head_scale", "correlation", "contrast", "note")


def recipe(grid: Grid, work: Work) -> str:
    """The digest of all that shapes a prepared volume, and what is told of it, but its image."""
    return digest({"version": RECIPE_VERSION, "grid": grid.to_json(), **work.to_json()})


def kept(
    participant_id: str, image: Path, volumes: Path, grid: Grid, work: Work
) -> dict[str, Any] | None:
    """What `prepare_subject` returned, with "redone" False, where that very work is there."""
    mark = volumes / f"{participant_id}.json"
    try:
        source = _source(image, grid, work)
    except OSError:
        return None
    known = read_json(mark)
    if known is None or not is_whole(mark.with_suffix(".npy"), grid):
        return None
    if any(known.get(name) != value for name, value in source.items()):
        return None
    found = {name: known[name] for name in FOUND if name in known}
    return {"sha256": known["sha256"], **found, "redone": False}


def prepare_subject(
    participant_id: str, image: Path, volumes: Path, grid: Grid, work: Work
) -> dict[str, Any]:
    """Write `volumes/<id>.npy` (X, Y, Z) uint16 0..4095, then `<id>.json`, its mark.

    Returns:
        `{"sha256", "redone": True}`, where registered with "correlation", "contrast" and
        "head_scale", where
        measured with "measured", mm3 by name, where its background was not the darkest with
        "note", a line; or `{"reason"}` where the image cannot be used.
    """
    mark = volumes / f"{participant_id}.json"
    target = volumes / f"{participant_id}.npy"
    mark.unlink(missing_ok=True)
    try:
        source = _source(image, grid, work)
    except OSError as error:
        return {"reason": f"unreadable image ({error.strerror})"}
    try:
        levels, found = _worked(*read_image(image), grid, work)
    except LdmError as error:
        target.unlink(missing_ok=True)
        return {"reason": str(error)}
    write_array(target, levels)
    sha256 = hashlib.sha256(levels.tobytes()).hexdigest()
    write_json(mark, {**source, "sha256": sha256, **found})
    return {"sha256": sha256, **found, "redone": True}


def _worked(
    data: np.ndarray, affine: np.ndarray, grid: Grid, work: Work
) -> tuple[np.ndarray, dict[str, Any]]:
    """The volume on the grid, uint16, and what was found on the way."""
    found: dict[str, Any] = {}
    data, note = settled(data)
    if note:
        found["note"] = note
    to_mni = mask = None
    if work.registers:
        place, mask = _registered(data, affine, work.skull_strip)
        to_mni = place.rigid
        found["correlation"] = round(place.correlation, 4)
        found["contrast"] = round(place.contrast, 4)
        found["head_scale"] = round(place.head_scale, 6)
    whole = data
    if work.skull_strip:
        data = masked(data, skull.brain_mask(data, affine) if mask is None else mask)
    if work.measure:
        # SynthSeg was made for heads as they are; the atlas does better without the skull.
        seen = whole if work.measure == "synthseg" else data
        measured = measure(nib.Nifti1Image(seen, affine), work.measure)
        found["measured"] = {name: round(value) for name, value in measured.items()}
    if work.placement == "register":
        placed = to_grid(data, to_mni @ affine, grid, placement="affine", order=3)
    else:
        placed = to_grid(data, affine, grid, placement=work.placement)
    return quantise(placed), found


def _registered(
    data: np.ndarray, affine: np.ndarray, skull_strip: bool
) -> tuple[registration.Registration, np.ndarray | None]:
    """Where a scan lies in MNI space, and where asked its brain mask.

    The mask is sought in the head turned upright; a head that does not register is stripped as it
    lies, and its brain registered instead.
    """
    try:
        found = registration.register(data, affine)
    except LdmError:
        if not skull_strip:
            raise
        mask = skull.brain_mask(data, affine)
        return registration.register(masked(data, mask), affine), mask
    return found, skull.brain_mask(data, affine, found.rigid) if skull_strip else None


def _source(image: Path, grid: Grid, work: Work) -> dict[str, Any]:
    """What the mark says a volume was made from."""
    status = image.stat()
    return {
        "recipe": recipe(grid, work),
        "source_bytes": status.st_size,
        "source_mtime_ns": status.st_mtime_ns,
    }
