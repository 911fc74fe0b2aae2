"""What a scan shows: a head or a brain, all of it or a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.docs.situations.making import array, image, nifti, one, persons, save
from tests.docs.situations.situation import Group, Situation
from tests.ldm.scalps import head
from tests.ray_jobs.line import image_path

_PAPER = ("--preset", "paper")


def _head(face: bool = True) -> Any:
    data, affine = head(face=face)
    return nib.Nifti1Image(np.rint(data).astype(np.int16), affine)


def _mixed(folder: Path) -> None:
    rows = persons(folder, 5)
    for name in rows:
        save(image_path(folder, name), _head() if name == "sub-05" else nifti())


def _kept(axis: int, start: int, stop: int, data: np.ndarray) -> np.ndarray:
    """All that is not between these two voxels along an axis, black."""
    found = np.zeros_like(data)
    part = (*[slice(None)] * axis, slice(start, stop))
    found[part] = data[part]
    return found


def _cropped(start: int, stop: int) -> Any:
    """Only these slices, as another field of view has them."""
    return nifti().slicer[:, :, start:stop]


def _ball(data: np.ndarray) -> np.ndarray:
    x, y, z = np.indices(data.shape) - np.array(data.shape).reshape(3, 1, 1, 1) / 2
    return (1000 * (x**2 + y**2 + z**2 < 40**2)).astype(np.float32)


GROUP = Group(
    title="What the scan shows",
    about="The presets tiny and demo are grids for brains, paper is one for heads.",
    situations=(
        Situation(what="a brain", make=image(nifti)),
        Situation(what="a whole head", make=image(_head)),
        Situation(what="a whole head, stripped", make=image(_head), options=("--skull-strip",)),
        Situation(what="a whole head on the paper's grid", make=image(_head), options=_PAPER),
        Situation(
            what="a defaced head on the paper's grid",
            make=image(lambda: _head(False)),
            options=_PAPER,
        ),
        Situation(what="four brains and a head", make=_mixed),
        Situation(
            what="four brains and a head, of which one may be lost",
            make=_mixed,
            options=("--max-unusable", "1"),
        ),
        Situation(
            what="half a brain: the left is black", make=array(lambda d: _kept(0, 69, 999, d))
        ),
        Situation(what="the lower half of a brain scanned", make=image(lambda: _cropped(0, 70))),
        Situation(what="the top 12 mm not scanned", make=image(lambda: _cropped(0, 92))),
        Situation(what="the top 24 mm not scanned", make=image(lambda: _cropped(0, 86))),
        Situation(what="12 slices of 2 mm", make=image(lambda: _cropped(60, 72))),
        Situation(what="a ball, as of a phantom", make=array(_ball)),
        Situation(what="no anatomy: a folder named anat, empty", make=one(lambda _: None)),
    ),
)
