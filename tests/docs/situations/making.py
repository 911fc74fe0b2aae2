"""Parts of situations: the template's brain and head, and BIDS folders that hold them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.ldm.scalps import brain
from tests.ray_jobs.line import image_path, people, write_participants

Make = Callable[[Path], None]


@lru_cache(maxsize=1)
def voxels() -> np.ndarray:
    """(X, Y, Z) int16, 0 to 1000: the template's brain."""
    return np.rint(brain()[0]).astype(np.int16)


def place() -> np.ndarray:
    """(4, 4): where those voxels lie, MNI mm."""
    return brain()[1]


def nifti(data: np.ndarray | None = None, affine: np.ndarray | None = None) -> nib.Nifti1Image:
    """An image of these voxels at this place; by default of the template's brain at its own."""
    return nib.Nifti1Image(
        voxels() if data is None else data, place() if affine is None else affine
    )


def save(path: Path, image: Any = None) -> Path:
    """Write an image, by default the template's brain, and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nifti() if image is None else image, path)
    return path


def persons(folder: Path, count: int = 1, **changes: Any) -> dict[str, dict[str, Any]]:
    """Write participants.tsv, `changes` in the last one's row; returns its rows."""
    rows = people(count)
    rows[f"sub-{count:02d}"] |= changes
    write_participants(folder, rows)
    return rows


def scanned(folder: Path, *names: str) -> None:
    """Give the template's brain, in voxels of 4 mm, to each of these participants."""
    first = save(image_path(folder, names[0]), nifti().slicer[::2, ::2, ::2])
    for name in names[1:]:
        path = image_path(folder, name)
        path.parent.mkdir(parents=True)
        shutil.copy(first, path)


def one(write: Callable[[Path], object], name: str = "sub-01_T1w.nii.gz") -> Make:
    """A folder of one participant, whose file of that name `write` writes."""

    def make(folder: Path) -> None:
        persons(folder)
        path = folder / "sub-01" / "anat" / name
        path.parent.mkdir(parents=True)
        write(path)

    return make


def image(build: Callable[[], Any]) -> Make:
    """A folder of one participant with this image."""
    return one(lambda path: save(path, build()))


def array(build: Callable[[np.ndarray], np.ndarray]) -> Make:
    """A folder of one participant with what `build` makes of the template's voxels, float32."""
    return image(lambda: nifti(build(voxels().astype(np.float32))))


def table(text: str | bytes, count: int) -> Make:
    """A folder of `count` scanned participants with that participants.tsv."""

    def make(folder: Path) -> None:
        scanned(folder, *people(count))
        data = text.encode() if isinstance(text, str) else text
        (folder / "participants.tsv").write_bytes(data)

    return make


def values(count: int, **changes: Any) -> Make:
    """`count` scanned participants; a list changes the column of all, else that of the last."""

    def make(folder: Path) -> None:
        rows = people(count)
        for number, (name, row) in enumerate(rows.items()):
            for column, value in changes.items():
                if isinstance(value, list):
                    row[column] = value[number]
                elif name == f"sub-{count:02d}":
                    row[column] = value
        write_participants(folder, rows)
        scanned(folder, *rows)

    return make
