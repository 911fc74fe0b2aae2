"""Previews: the right way up, the same bytes every time, as recorded."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ldm.errors import LdmError
from ldm.volumes.previews import Plane, mosaic, sweep
from tests.golden.previews import FOLDER, phantom, pictures


def pixels(png: bytes) -> np.ndarray:
    """Brightness, (rows, columns), 0..255."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=np.float64)


@pytest.mark.parametrize(
    ("plane", "leftwards"),
    [("sagittal", "anterior"), ("coronal", "left"), ("axial", "left")],
)
def test_the_front_left_top_of_the_head_is_at_the_upper_left(plane: Plane, leftwards: str) -> None:
    picture = pixels(mosaic([phantom()], planes=[plane]))
    rows, columns = np.nonzero(picture > 200)
    assert rows.mean() < picture.shape[0] / 2, "superior or anterior is not up"
    assert columns.mean() < picture.shape[1] / 2, f"{leftwards} is not on the left"


def test_pictures_are_as_recorded() -> None:
    for name, data in pictures().items():
        now, recorded = pixels(data), pixels((FOLDER / name).read_bytes())
        assert now.shape == recorded.shape
        # Fonts are hinted a little differently by each version of FreeType.
        assert np.abs(now - recorded).mean() < 0.5, (
            f"{name} changed: python -m tests.golden.previews"
        )


def test_the_same_volumes_give_the_same_bytes() -> None:
    assert pictures() == pictures()


def test_a_changed_volume_changes_only_its_own_cell() -> None:
    volumes = [phantom(), phantom()]
    one = pixels(mosaic(volumes, planes=["axial"]))
    volumes[1] = 0.5 * volumes[1]
    other = pixels(mosaic(volumes, planes=["axial"]))
    half = one.shape[1] // 2
    assert np.array_equal(one[:, :half], other[:, :half])
    assert not np.array_equal(one[:, half:], other[:, half:])


def test_16_volumes_fill_a_wide_picture_without_empty_places() -> None:
    height, width = pixels(mosaic([phantom()] * 16)).shape
    assert 1 < width / height < 2.5


def test_a_sweep_shows_every_volume_at_the_same_place() -> None:
    shifted = np.roll(phantom(), 6, axis=2)
    together = pixels(sweep([phantom(), shifted], ["a", "b"], "coronal"))
    rows = [np.nonzero(half > 200)[0].mean() for half in np.array_split(together, 2, axis=1)]
    assert rows[1] < rows[0] - 10


def test_what_is_not_finite_or_empty_is_shown_as_black() -> None:
    broken = phantom()
    broken[:20] = np.nan
    assert pixels(mosaic([broken])).max() > 200
    assert pixels(mosaic([np.full((8, 9, 10), np.nan)])).max() < 30


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([],), "no volume"),
        (([np.zeros((4, 4))],), r"shape \[\(4, 4\)\]: expected one shape"),
        (([np.zeros((4, 4, 4)), np.zeros((4, 4, 5))],), "expected one shape"),
        (([np.zeros((4, 4, 4))], ["a", "b"]), "1 volumes with 2 titles"),
        (([np.zeros((4, 4, 4))], None, ["oblique"]), "expected some of sagittal, coronal, axial"),
        (([np.zeros((4, 4, 4))], None, []), "expected some of"),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(LdmError, match=told):
        mosaic(*arguments)
