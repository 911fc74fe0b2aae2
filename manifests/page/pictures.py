"""Pictures of a few volumes of a release: a slice of each for its page, three for the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from nibabel.affines import voxel_sizes

from manifests.errors import ReleaseError
from manifests.format.schema import OK
from manifests.pictures.planes import FOREGROUND, GAP, PLANES, Plane, beside, scaled, views_of
from manifests.pictures.png import png_bytes
from manifests.query.release import Release
from manifests.storage.base import Store
from manifests.volumes.images import Image, fetch, images_of
from manifests.volumes.nifti import read_volume

MOST_PICTURES = 96  # volumes of which a page has a picture
MOSAIC = 24  # of them in the mosaic at first, and on the contact sheet; 24 fills rows of 3, 4, 6, 8
SHEET_COLUMNS, SHEET_HEIGHT = 4, 128
MARGIN = 2  # voxels of air around the heads
TIMES = " \N{MULTIPLICATION SIGN} "

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """A volume that is shown.

    Attributes:
        row: its manifest row.
        views: plane -> uint8 (rows, columns) of square pixels, the right way up: left is left.
        grid: of the volume, for people: its voxels along x, y and z, and their size.
        crop: what of the whole axial slice its view is: left, top, width and height, as shares.
    """

    row: dict[str, Any]
    views: dict[Plane, np.ndarray]
    grid: str
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


def shown_samples(release: Release, *, most: int = MOST_PICTURES) -> list[Sample]:
    """Volumes evenly chosen among the release's images, all cropped alike.

    Raises:
        ReleaseError: an image that is missing, not the manifest's, or no sound volume (exit 1).
    """
    good = release.query(f"status = '{OK}'", columns=["index"])["index"].to_pylist()
    if not good:
        return []
    chosen = ", ".join(str(index) for index in evenly(good, most))
    rows = release.query(f"status = '{OK}' and index in ({chosen})")
    images = zip(images_of(rows, release.store.uri), rows.to_pylist(), strict=True)
    return _cropped([_sample(release.store, image, row) for image, row in images])


def evenly(things: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly chosen, the first and the last among them.

    >>> evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    places = np.unique(np.linspace(0, len(things) - 1, most).round().astype(int))
    return [things[place] for place in places] if things else []


def _sample(store: Store, image: Image, row: dict[str, Any]) -> Sample:
    try:
        volume, affine = read_volume(fetch(store, image))
        return Sample(row, views_of(volume, affine), _grid(volume, affine))
    except KeyError:
        line = f"{store.uri}/{image.path} is missing; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1) from None
    except ReleaseError as error:
        line = f"{store.uri}/{image.path}: {error}; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1) from error


def contact_sheet(samples: Sequence[Sample]) -> bytes:
    """All samples in rows of four, three planes each, as a PNG file; a black one where none is."""
    cells = []
    for sample in samples:
        scale = SHEET_HEIGHT / max(sample.views[plane].shape[0] for plane in PLANES)
        cells.append(beside([scaled(sample.views[plane], scale) for plane in PLANES]))
    if not cells:
        return png_bytes(np.zeros((SHEET_HEIGHT, SHEET_HEIGHT), np.uint8))
    width = max(cell.shape[1] for cell in cells)
    cells = [np.pad(cell, ((0, 0), (0, width - cell.shape[1]))) for cell in cells]
    lines = [cells[i : i + SHEET_COLUMNS] for i in range(0, len(cells), SHEET_COLUMNS)]
    drawn = [beside(line, gap=4 * GAP) for line in lines]
    width = drawn[0].shape[1]
    drawn = [np.pad(line, ((GAP, GAP), (0, width - line.shape[1]))) for line in drawn]
    return png_bytes(np.pad(np.concatenate(drawn), 2 * GAP))


def _grid(volume: np.ndarray, affine: np.ndarray) -> str:
    sizes = [f"{size:.4g}" for size in voxel_sizes(affine)]
    spacing = sizes[0] if len(set(sizes)) == 1 else TIMES.join(sizes)
    return f"{TIMES.join(map(str, volume.shape))} at {spacing} mm"


def _cropped(samples: Sequence[Sample]) -> list[Sample]:
    """The samples without the air that surrounds all of them, plane by plane."""
    boxes: dict[Plane, tuple[slice, slice]] = {}
    for plane in PLANES:
        views = [sample.views[plane] for sample in samples]
        if len({view.shape for view in views}) > 1:
            continue  # images on several grids stay whole
        seen = np.max(np.stack(views), axis=0) > FOREGROUND * 255
        if seen.any():
            rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
            boxes[plane] = (_span(rows, seen.shape[0]), _span(columns, seen.shape[1]))
    whole = (slice(None), slice(None))
    return [
        replace(
            s,
            views={plane: s.views[plane][boxes.get(plane, whole)] for plane in PLANES},
            crop=_shares(boxes["axial"], s.views["axial"].shape) if "axial" in boxes else s.crop,
        )
        for s in samples
    ]


def _shares(box: tuple[slice, slice], shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Left, top, width and height of a box, as shares of the picture that it is cut from."""
    (rows, columns), (height, width) = box, shape
    return (
        round(columns.start / width, 4),
        round(rows.start / height, 4),
        round((columns.stop - columns.start) / width, 4),
        round((rows.stop - rows.start) / height, 4),
    )


def _span(places: np.ndarray, side: int) -> slice:
    return slice(max(0, int(places[0]) - MARGIN), min(side, int(places[-1]) + 1 + MARGIN))
