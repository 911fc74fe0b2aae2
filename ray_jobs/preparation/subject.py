"""Preparing one subject: its image on the grid, or the reason why not; done work is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.grid import Grid
from ldm.volumes import quantise, read_image, to_grid
from ray_jobs.files import digest, read_json, write_array, write_json
from ray_jobs.preparation.cohort import is_whole

# Goes up when the same image would come out different.
RECIPE_VERSION = 1


def recipe(grid: Grid, placement: str) -> str:
    """The digest of all that shapes a prepared volume besides its image."""
    return digest({"version": RECIPE_VERSION, "grid": grid.to_json(), "placement": placement})


def kept(
    participant_id: str, image: Path, volumes: Path, grid: Grid, placement: str
) -> dict[str, Any] | None:
    """`{"sha256", "redone": False}` where the volume of just this image is there already."""
    mark = volumes / f"{participant_id}.json"
    try:
        source = _source(image, grid, placement)
    except OSError:
        return None
    known = read_json(mark)
    if known is None or not is_whole(mark.with_suffix(".npy"), grid):
        return None
    if any(known.get(name) != value for name, value in source.items()):
        return None
    return {"sha256": known["sha256"], "redone": False}


def prepare_subject(
    participant_id: str, image: Path, volumes: Path, grid: Grid, placement: str
) -> dict[str, Any]:
    """Write `volumes/<id>.npy` (X, Y, Z) uint16 0..4095, then `<id>.json`, its mark.

    Returns:
        `{"sha256", "redone": True}`, or `{"reason"}` where the image cannot be used.
    """
    mark = volumes / f"{participant_id}.json"
    target = volumes / f"{participant_id}.npy"
    mark.unlink(missing_ok=True)
    try:
        source = _source(image, grid, placement)
    except OSError as error:
        return {"reason": f"unreadable image ({error.strerror})"}
    try:
        levels = quantise(to_grid(*read_image(image), grid, placement=placement))
    except LdmError as error:
        target.unlink(missing_ok=True)
        return {"reason": str(error)}
    write_array(target, levels)
    found = hashlib.sha256(levels.tobytes()).hexdigest()
    write_json(mark, {**source, "sha256": found})
    return {"sha256": found, "redone": True}


def _source(image: Path, grid: Grid, placement: str) -> dict[str, Any]:
    """What the mark says a volume was made from."""
    status = image.stat()
    return {
        "recipe": recipe(grid, placement),
        "source_bytes": status.st_size,
        "source_mtime_ns": status.st_mtime_ns,
    }
