"""previews/prepared.png: some subjects as they were placed, the doubtful ones first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm.contrasts import without_suffix
from ray_jobs.files import write_bytes

PICTURE = "previews/prepared.png"
SHOWN = 12
# Of those who are refused and those who are doubtful, so that the others are seen as well.
_MOST_REFUSED, _MOST_DOUBTFUL = 5, 4


def pictured(done: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Who is shown, in order: "refused", "doubtful" or "" by id, a function of the outcomes alone.

    First some who were placed and are refused, then some who are used though doubtful, then
    others at even distances in the order of ids, all contrasts of one side by side; more of the
    former where there are few others.
    """
    groups: dict[str, list[str]] = {"refused": [], "doubtful": [], "": []}
    for name, outcome in sorted(done.items()):
        if "sha256" in outcome:
            groups["doubtful" if "told" in outcome else ""].append(name)
        elif "faults" in outcome:
            groups["refused"].append(name)
    caps = {"refused": _MOST_REFUSED, "doubtful": _MOST_DOUBTFUL, "": SHOWN}
    chosen = {kind: names[: caps[kind]] for kind, names in groups.items() if kind}
    room = SHOWN - sum(map(len, chosen.values()))
    fine = groups[""]
    scans: dict[str, list[str]] = {}
    for name in fine:
        scans.setdefault(without_suffix(name), []).append(name)
    each = list(scans.values())
    count = min(max(1, room // max(map(len, each))), len(each)) if each and room else 0
    chosen[""] = [name for n in range(count) for name in each[n * len(each) // count]][:room]
    for kind, names in groups.items():
        room = SHOWN - sum(map(len, chosen.values()))
        chosen[kind] += [name for name in names if name not in chosen[kind]][:room]
    return {name: kind for kind in groups for name in chosen[kind]}


def draw(out: Path, volumes: Path, refused: Path, done: Mapping[str, Mapping[str, Any]]) -> bool:
    """Write the picture of the cohort in `out`; False where nobody was placed.

    Args:
        volumes, refused: where the volumes of usable and refused subjects lie.
    """
    from ldm.volumes.conversion import read_volume
    from ldm.volumes.previews import mosaic

    shown = pictured(done)
    if not shown:
        return False
    folders = {kind: refused if kind == "refused" else volumes for kind in shown.values()}
    arrays = [read_volume(folders[kind] / f"{name}.npy") for name, kind in shown.items()]
    captions = [f"{name}: {kind}" if kind else name for name, kind in shown.items()]
    picture = mosaic(arrays, captions)
    target = out / PICTURE
    target.parent.mkdir(exist_ok=True)
    if not target.exists() or target.read_bytes() != picture:
        write_bytes(target, picture)
    return True
