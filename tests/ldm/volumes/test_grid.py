"""The grid's place, the space that it lies in, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.volumes.grid import Grid


def test_the_middle_of_the_grid_lies_at_its_centre() -> None:
    grid = Grid(shape=(9, 11, 13), spacing=2.5, centre=(1.0, -20.0, 7.0))
    assert grid.affine @ [4, 5, 6, 1] == pytest.approx([1.0, -20.0, 7.0, 1.0])


def test_axes_run_to_the_right_the_front_and_the_top_by_the_spacing() -> None:
    affine = Grid(shape=(8, 9, 10), spacing=2.5).affine
    assert nib.aff2axcodes(affine) == ("R", "A", "S")
    np.testing.assert_array_equal(affine[:3, :3], 2.5 * np.eye(3))


def test_a_voxel_of_2_mm_holds_8_mm3() -> None:
    assert Grid(shape=(8, 8, 8), spacing=2.0).voxel_volume == 8.0


def test_a_grid_survives_json() -> None:
    grid = Grid(shape=(16, 24, 16), spacing=2.5, centre=(0.98, -13.98, 18.95))
    assert Grid.from_json(grid.to_json()) == grid


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shape": (7, 8, 8), "spacing": 1.0}, r"\(7, 8, 8\): expected three sides of at least 8"),
        ({"shape": (16, 16), "spacing": 1.0}, "expected three sides"),
        ({"shape": (8, 8, 8), "spacing": 0.0}, "spacing 0.0 mm: expected a positive number"),
        ({"shape": (8, 8, 8), "spacing": float("nan")}, "spacing nan mm"),
    ],
)
def test_an_impossible_grid_is_refused_at_birth(fields: dict, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        Grid(**fields)


def test_a_grid_in_mni_space_says_no_word_of_it_and_another_does() -> None:
    grid = Grid(shape=(16, 24, 16), spacing=2.5)
    assert set(grid.to_json()) == {"shape", "spacing", "centre"}
    centred = replace(grid, space="centred")
    assert centred.to_json() == {**grid.to_json(), "space": "centred"}
    assert Grid.from_json(centred.to_json()) == centred
    assert centred != grid
    assert centred.same_voxels(grid)
    assert not centred.same_voxels(Grid(shape=(16, 24, 24), spacing=2.5))


def test_a_space_that_is_not_known_is_refused() -> None:
    with pytest.raises(LdmError, match="grid space 'moon': expected one of MNI152, centred"):
        Grid.from_json({**Grid(shape=(8, 8, 8), spacing=2.0).to_json(), "space": "moon"})
