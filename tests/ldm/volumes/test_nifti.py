"""Images of other formats and types than a scan's: refused in words that name them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.volumes.nifti import examine, open_nifti

PLACE = np.diag([4.0, 4, 4, 1])


@pytest.mark.parametrize("order", ["<", ">"])
def test_analyze_is_called_by_its_name(tmp_path: Path, order: str) -> None:
    header = nib.AnalyzeHeader(endianness=order)
    header.set_data_dtype(np.int16)
    header.set_data_shape((30, 30, 30))
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(2 * 30**3))
    for read in (open_nifti, examine):
        with pytest.raises(LdmError, match=r"^unreadable image \(Analyze 7.5, which does not tell"):
            read(path)


@pytest.mark.parametrize(
    ("dtype", "called"),
    [
        (np.complex64, "complex64"),
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), "R-G-B"),
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]), "R-G-B-A"),
    ],
)
def test_voxels_that_are_no_real_numbers_are_called_by_their_type(
    tmp_path: Path, dtype: np.dtype, called: str
) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((30, 30, 30), dtype), PLACE), path)
    with pytest.raises(LdmError, match=f"30 x 30 x 30 voxels of type {called}, expected real num"):
        open_nifti(path)
