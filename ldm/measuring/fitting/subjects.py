"""The subjects that the measuring tools are trained and judged on, real and virtual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ldm.anatomy import labels, regions
from ldm.anatomy.virtual import subject as virtual_subject
from ldm.errors import LdmError
from ldm.measuring.box import SHAPE, SPACING, Box, to_box
from ldm.split import held_out
from ldm.volumes.conversion import read_image
from ldm.volumes.grid import Grid

# Of the real subjects, never trained on: by `ldm.split.held_out`, as `prepare --validation` does,
# so that who is held out there at a smaller share is held out here too.
UNSEEN_SHARE = 0.25
TRAIN, UNSEEN = "train", "unseen"
VIRTUAL_GRID = Grid(shape=SHAPE, spacing=SPACING)
# Virtual subject i of a split is that of the seed (VIRTUAL_SEEDS[split], i).
VIRTUAL_SEEDS = {TRAIN: 6_001, UNSEEN: 6_002}
# From a virtual label map to ours; its fluid includes the third and fourth ventricle, and its
# brain stem is not told from white matter.
_VIRTUAL = {
    virtual_subject.BACKGROUND: labels.BACKGROUND,
    virtual_subject.CSF: labels.CSF,
    virtual_subject.GREY: labels.GREY,
    virtual_subject.WHITE: labels.WHITE,
    virtual_subject.VENTRICLE: labels.VENTRICLE,
}

Shape = tuple[int, int, int] | None


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A subject in the segmenter's box.

    Attributes:
        name: participant_id.
        box: its T1w.
        labels: (X, Y, Z) uint8, `ldm.anatomy.labels`.
        parts: (X, Y, Z) uint8, the parts for synthetic contrasts.
        regions: (X, Y, Z) uint8, `ldm.anatomy.regions`; of a virtual subject not known.
        has_stem: whether the labels tell the brain stem from white matter.
        row: its row of participants.tsv; of a virtual subject, what is known of it.
    """

    name: str
    box: Box
    labels: np.ndarray
    parts: np.ndarray
    regions: np.ndarray
    has_stem: bool
    row: dict[str, Any]


def split_of(participant_id: str) -> str:
    """ "train" or "unseen"."""
    return UNSEEN if held_out(participant_id, UNSEEN_SHARE) else TRAIN


def real_scans(bids: Path, split: str) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    """Rows of participants.tsv with their T1w (X, Y, Z) and its affine, those of a split.

    Raises:
        LdmError: no participants.tsv, or an image is missing.
    """
    try:
        table = pd.read_csv(bids / "participants.tsv", sep="\t")
    except OSError:
        raise LdmError(f"{bids}: no participants.tsv; expected a BIDS folder") from None
    for row in table.sort_values("participant_id").to_dict("records"):
        name = str(row["participant_id"])
        if split_of(name) == split:
            data, affine = read_image(_one(bids, f"{name}/**/*_T1w.nii.gz"))
            yield {str(key): value for key, value in row.items()}, data, affine


def real_subjects(bids: Path, split: str, shape: Shape = None) -> Iterator[Labelled]:
    """Subjects of a BIDS folder whose derivatives hold MUSE label maps (`*_dseg.nii.gz`).

    Raises:
        LdmError: no participants.tsv, or an image or a label map is missing.
    """
    for row, data, affine in real_scans(bids, split):
        name = str(row["participant_id"])
        muse, placed = read_image(_one(bids, f"derivatives/**/{name}*_dseg.nii.gz"))
        box = to_box(data, affine, shape)
        known = in_box(muse, placed, box)
        yield Labelled(
            name=name,
            box=box,
            labels=labels.from_muse(known),
            parts=labels.parts_of_muse(known),
            regions=regions.from_muse(known),
            has_stem=True,
            row=row,
        )


def virtual_subjects(split: str, count: int, shape: Shape = None) -> Iterator[Labelled]:
    """The first virtual subjects of a split: no anatomy of anybody is shared between splits but
    the template's."""
    table = np.array([_VIRTUAL[number] for number in range(len(_VIRTUAL))], dtype=np.uint8)
    for number in range(count):
        subject = virtual_subject.make_subject((VIRTUAL_SEEDS[split], number), VIRTUAL_GRID)
        box = to_box(
            np.asarray(subject.image.dataobj, dtype=np.float32), VIRTUAL_GRID.affine, shape
        )
        known = in_box(np.asarray(subject.labels.dataobj), VIRTUAL_GRID.affine, box)
        yield Labelled(
            name=f"virtual-{split}-{number}",
            box=box,
            labels=table[known],
            parts=known,
            regions=np.where(known, regions.UNKNOWN, 0).astype(np.uint8),
            has_stem=False,
            row=dict(subject.covariates),
        )


def in_box(known: np.ndarray, affine: np.ndarray, box: Box) -> np.ndarray:
    """A label map (X, Y, Z) where `box` has its voxels, uint8, the nearest label."""
    from scipy.ndimage import affine_transform

    matrix = np.linalg.inv(affine) @ box.affine
    found = affine_transform(
        known.astype(np.uint8),
        matrix[:3, :3],
        matrix[:3, 3],
        box.voxels.shape,
        order=0,
        mode="grid-constant",
        cval=0,
    )
    return np.asarray(found)


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise LdmError(f"{folder}: no file {pattern}; expected T1w images and MUSE label maps")
    return found[0]
