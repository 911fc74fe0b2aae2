"""What holds for any orientation of a file and any 12-bit volume."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ldm.volumes.conversion import LEVELS, dequantise, quantise, read_image, to_grid
from ldm.volumes.grid import Grid

GRID = Grid(shape=(10, 12, 8), spacing=8.0)
FLIPS = list(itertools.product((1, -1), repeat=3))
ORIENTATIONS = [(p, f) for p in itertools.permutations(range(3)) for f in FLIPS]


def head() -> nib.Nifti1Image:
    """A RAS image without any symmetry: brighter to the right, the front and the top."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (20, 26, 15)), indexing="ij")
    data = np.exp(-4 * (x**2 + y**2 + z**2)) * (2 + 0.3 * x + 0.6 * y + 0.9 * z)
    affine = np.diag([4.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = (-38, -67, -30)
    return nib.Nifti1Image(data.astype(np.float32), affine)


@pytest.mark.parametrize("placement", ["centre", "affine"])
def test_the_same_head_lies_in_the_same_place_however_its_file_is_turned(
    tmp_path: Path, placement: str
) -> None:
    def on_grid(image: nib.Nifti1Image) -> np.ndarray:
        nib.save(image, tmp_path / "turned.nii")
        return to_grid(*read_image(tmp_path / "turned.nii"), GRID, placement=placement)

    wanted = on_grid(head())
    assert wanted[7, 6, 4] > wanted[2, 6, 4] + 0.05  # a flip would show
    assert wanted[5, 8, 4] > wanted[5, 3, 4] + 0.05
    assert wanted[5, 6, 6] > wanted[5, 6, 1] + 0.05
    for permutation, flips in ORIENTATIONS:
        turned = head().as_reoriented(np.column_stack([permutation, flips]))
        np.testing.assert_allclose(
            on_grid(turned), wanted, atol=1e-5, err_msg=f"{permutation} {flips}"
        )


@given(npst.arrays(np.uint16, (3, 4, 5), elements=st.integers(0, LEVELS)))
@settings(max_examples=50, deadline=None)
def test_quantise_inverts_dequantise(levels: np.ndarray) -> None:
    np.testing.assert_array_equal(quantise(dequantise(levels)), levels)


@given(npst.arrays(np.float32, (40,), elements=st.floats(width=32)))
@settings(max_examples=100, deadline=None)
def test_quantising_keeps_order_and_never_leaves_12_bits_but_for_the_mark(
    values: np.ndarray,
) -> None:
    finite = np.sort(values[np.isfinite(values)])
    found = quantise(finite).astype(int)
    assert (np.diff(found) >= 0).all()
    assert found.max(initial=0) <= LEVELS
    assert (quantise(values) > LEVELS).sum() == (~np.isfinite(values)).sum()
