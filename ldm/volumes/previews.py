"""Pictures of volumes: PNG montages to look at, the same bytes for the same volumes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ldm.errors import LdmError

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: tuple[Plane, ...] = get_args(Plane)

_AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
_TILE_HEIGHT = 176  # pixels of the tallest plane
_GAP = 10  # pixels between cells, and round the picture
_CAPTION_HEIGHT = 20  # pixels
_FOREGROUND = 0.05  # of the intensity range: below it is air
_BACKGROUND, _WHITE = (13, 16, 22), (255, 255, 255)
_CAPTION_GREY = 176  # on the way from background to white, 0..255
_ASPECT = 1.5  # width to height that a mosaic aims at


def mosaic(
    volumes: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    planes: Sequence[Plane] = PLANES,
) -> bytes:
    """Every volume in a cell of its own: its planes side by side, its title below.

    Args:
        volumes: (X, Y, Z) arrays in [0, 1], RAS, all of one shape.
        titles: a short caption for each volume.
        planes: the views of a cell, each cut through the centre of that volume's foreground.

    Returns:
        PNG bytes. Superior is up in sagittal and coronal views; anterior is left in a sagittal
        and up in an axial view; the subject's left is on the left.

    Raises:
        LdmError: no volume, volumes that are not 3-D or differ in shape, an unknown plane, or
            titles that are not one per volume.
    """
    stack = _checked(volumes, titles, planes)
    cells = [[_view(volume, plane, _centre(volume)) for plane in planes] for volume in stack]
    cells = _cropped(cells)
    scale = _TILE_HEIGHT / max(tile.shape[0] for tile in cells[0])
    images = [_row([_tile(tile, scale) for tile in cell]) for cell in cells]
    return _page(images, titles, columns=_columns(len(images), images[0], titled=bool(titles)))


def sweep(
    volumes: Sequence[np.ndarray],
    captions: Sequence[str],
    plane: Plane = "axial",
    title: str | None = None,
) -> bytes:
    """One row of one plane through the same place of every volume, to compare them.

    Args:
        volumes: (X, Y, Z) arrays in [0, 1], RAS, all of one shape, in the order to show.
        captions: the value of each, such as "20 mL".
        plane: the view; it lies at the mean centre of the volumes' foreground.
        title: what is varied, such as "ventricular volume asked".

    Returns:
        PNG bytes, the views as in `mosaic`.

    Raises:
        LdmError: as `mosaic`.
    """
    stack = _checked(volumes, captions, [plane])
    centre = np.mean([_centre(volume) for volume in stack], axis=0)
    cells = _cropped([[_view(volume, plane, centre)] for volume in stack])
    scale = _TILE_HEIGHT / cells[0][0].shape[0]
    return _page([_tile(cell[0], scale) for cell in cells], captions, len(cells), title)


def _checked(
    volumes: Sequence[np.ndarray], titles: Sequence[str] | None, planes: Sequence[Plane]
) -> list[np.ndarray]:
    """The volumes as float32 in [0, 1]; what is not finite is shown as 0."""
    if not len(volumes):
        raise LdmError("a preview of no volume: expected at least one")
    shapes = sorted({np.shape(volume) for volume in volumes})
    if len(shapes) > 1 or len(shapes[0]) != 3:
        raise LdmError(f"a preview of volumes of shape {shapes}: expected one shape, (X, Y, Z)")
    if titles is not None and len(titles) != len(volumes):
        raise LdmError(f"a preview of {len(volumes)} volumes with {len(titles)} titles")
    if not planes or not set(planes) <= set(PLANES):
        raise LdmError(f"preview planes {list(planes)}: expected some of {', '.join(PLANES)}")
    finite = (np.nan_to_num(np.asarray(v, np.float32), posinf=0, neginf=0) for v in volumes)
    return [np.clip(volume, 0, 1) for volume in finite]


def _centre(volume: np.ndarray) -> np.ndarray:
    """Mean voxel of the foreground, (3,), its height raised to where the lateral ventricles are.

    The middle of an empty volume.
    """
    foreground = volume > _FOREGROUND
    if not foreground.any():
        return (np.array(volume.shape) - 1) / 2
    sums = [foreground.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    centre = np.array([np.average(np.arange(len(s)), weights=s) for s in sums])
    centre[2] += 0.05 * np.count_nonzero(sums[2])
    return centre


def _view(volume: np.ndarray, plane: Plane, centre: np.ndarray) -> np.ndarray:
    """The plane through `centre`, (rows, columns), the right way up."""
    axis = _AXIS[plane]
    position = int(np.clip(round(float(centre[axis])), 0, volume.shape[axis] - 1))
    upright = np.take(volume, position, axis=axis).T[::-1]  # columns: the first axis left
    return upright[:, ::-1] if plane == "sagittal" else upright


def _cropped(cells: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """The cells without the air that surrounds all of them, plane by plane."""
    columns = []
    for tiles in zip(*cells, strict=True):
        seen = np.max(np.stack(tiles), axis=0) > _FOREGROUND
        rows, cols = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
        if len(rows):
            top, left = max(0, rows[0] - 2), max(0, cols[0] - 2)
            tiles = tuple(tile[top : rows[-1] + 3, left : cols[-1] + 3] for tile in tiles)
        columns.append(tiles)
    return [list(cell) for cell in zip(*columns, strict=True)]


def _tile(view: np.ndarray, scale: float) -> Image.Image:
    grey = Image.fromarray(np.round(view * 255).astype(np.uint8))
    size = (max(1, round(view.shape[1] * scale)), max(1, round(view.shape[0] * scale)))
    return grey.resize(size, Image.Resampling.BICUBIC)


def _row(tiles: Sequence[Image.Image]) -> Image.Image:
    """Tiles side by side, centred on one line."""
    height = max(tile.height for tile in tiles)
    row = Image.new("L", (sum(t.width for t in tiles) + _GAP * (len(tiles) - 1), height))
    x = 0
    for tile in tiles:
        row.paste(tile, (x, (height - tile.height) // 2))
        x += tile.width + _GAP
    return row


def _columns(count: int, cell: Image.Image, titled: bool) -> int:
    """Cells in a row: the fewest empty places, then the shape nearest to `_ASPECT`."""
    height = cell.height + _GAP + (_CAPTION_HEIGHT if titled else 0)

    def unlikeness(columns: int) -> float:
        rows = math.ceil(count / columns)
        shape = math.log(columns * (cell.width + 2 * _GAP) / (rows * height) / _ASPECT)
        return abs(shape) + 2 * (rows * columns - count) / count

    return min(range(1, count + 1), key=unlikeness)


def _page(
    cells: Sequence[Image.Image],
    captions: Sequence[str] | None,
    columns: int,
    title: str | None = None,
) -> bytes:
    """PNG of cells in rows of `columns`, with captions below and a title on top."""
    caption_height = _CAPTION_HEIGHT if captions else 0
    gap = 2 * _GAP
    step_x, step_y = cells[0].width + gap, cells[0].height + caption_height + gap
    top = gap + (_CAPTION_HEIGHT + _GAP if title else 0)
    rows = math.ceil(len(cells) / columns)
    page = Image.new("L", (gap + columns * step_x, top + rows * step_y))
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((page.width // 2, gap), title, _CAPTION_GREY + 50, _font(), anchor="ma")
    for number, cell in enumerate(cells):
        x, y = gap + number % columns * step_x, top + number // columns * step_y
        page.paste(cell, (x, y))
        if captions:
            below = (x + cell.width // 2, y + cell.height + _GAP // 2)
            draw.text(below, captions[number], _CAPTION_GREY, _font(), anchor="ma")
    ramp = np.linspace(_BACKGROUND, _WHITE, 256).round().astype(np.uint8)
    page.putpalette(ramp.tobytes())
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=13)
