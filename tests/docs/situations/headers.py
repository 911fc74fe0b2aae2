"""Where the header says that the voxels lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from tests.docs.situations.making import Make, image, nifti, one, place, voxels
from tests.docs.situations.situation import Group, Situation
from tests.ldm.heads import turned


def _oblique(axes: str = "RAS", sides: tuple[float, float, float] = (2, 2, 2)) -> Make:
    def build() -> Any:
        return turned(nifti(), seed=4, degrees=20, shift=15, sides=sides, axes=axes)[0]

    return image(build)


def _header(change: Callable[[Any], object]) -> Make:
    """The brain in place by both forms, then its header changed, whatever nibabel thinks of it."""

    def write(path: Path) -> None:
        found = nifti()
        found.set_sform(place(), code=1)
        found.set_qform(place(), code=1)
        data = found.to_bytes()
        header = nib.Nifti1Header(data[:348], check=False)
        change(header)
        path.write_bytes(header.binaryblock + data[348:])

    return one(write, "sub-01_T1w.nii")


def _form(name: str, affine: np.ndarray) -> Make:
    """One of the two forms is another."""

    def change(header: Any) -> None:
        getattr(header, f"set_{name}")(affine, code=1)

    return _header(change)


def _raw_sform(value: float, qform: int = 1) -> Make:
    def change(header: Any) -> None:
        header["qform_code"] = qform
        for row in ("srow_x", "srow_y", "srow_z"):
            header[row] = value

    return _header(change)


def _codes(sform: int, qform: int) -> Make:
    def change(header: Any) -> None:
        header["sform_code"], header["qform_code"] = sform, qform

    return _header(change)


def _field(name: str, value: Any) -> Make:
    return _header(lambda header: header.__setitem__(name, value))


def _moved(mm: float) -> np.ndarray:
    found = place().copy()
    found[0, 3] += mm
    return found


def _mirrored() -> np.ndarray:
    return np.diag([-1.0, 1, 1, 1]) @ place()


def _sheared() -> np.ndarray:
    shear = np.eye(4)
    shear[0, 1] = 0.1
    return shear @ place()


def _stretched(factor: float) -> Make:
    return image(lambda: nifti(None, np.diag([factor, factor, factor, 1.0]) @ place()))


def _turned_header() -> Any:
    """The brain as it is, and a header that says it stands on its head."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", 180, degrees=True).as_matrix()
    return nifti(None, turn @ place())


def _in_order(axes: str) -> Any:
    order = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    return nifti().as_reoriented(order)


_AFFINE, _CENTRE = ("--placement", "affine"), ("--placement", "centre")

GROUP = Group(
    title="Where the header says it lies",
    about="The same brain, in MNI space unless the line says otherwise.",
    situations=(
        Situation(what="stored as PIR", make=image(lambda: _in_order("PIR"))),
        Situation(what="stored as LAS", make=image(lambda: _in_order("LAS"))),
        Situation(what="oblique, 20 degrees", make=_oblique()),
        Situation(what="oblique, 20 degrees, centred", make=_oblique(), options=_CENTRE),
        Situation(what="oblique, 20 degrees, believed", make=_oblique(), options=_AFFINE),
        Situation(what="oblique, voxels of 1 x 1 x 3 mm, PSR", make=_oblique("PSR", (1, 1, 3))),
        Situation(what="sform only", make=_codes(1, 0)),
        Situation(what="qform only", make=_codes(0, 1)),
        Situation(what="both codes 0", make=_codes(0, 0)),
        Situation(what="both codes 0, centred", make=_codes(0, 0), options=_CENTRE),
        Situation(what="both codes 0, believed", make=_codes(0, 0), options=_AFFINE),
        Situation(what="an sform of zeros with code 1, a good qform", make=_raw_sform(0)),
        Situation(what="an sform of NaN, a good qform", make=_raw_sform(np.nan)),
        Situation(
            what="an sform of zeros with code 1, no qform",
            make=_raw_sform(0, qform=0),
        ),
        Situation(what="qform and sform 5 mm apart", make=_form("qform", _moved(5))),
        Situation(what="qform and sform mirrored", make=_form("qform", _mirrored())),
        Situation(what="sheared by 5.7 degrees", make=_form("sform", _sheared())),
        Situation(
            what="pixdim of 1 mm, the affine's voxels 2 mm",
            make=_field("pixdim", [1, 1, 1, 1, 1, 0, 0, 0]),
        ),
        Situation(what="voxels of 0.002, as if in metres", make=_stretched(0.001)),
        Situation(what="voxels of 20, as if in tenths of a millimetre", make=_stretched(10)),
        Situation(what="voxels of half their size", make=_stretched(0.5)),
        Situation(what="a header that says upside down", make=image(_turned_header)),
        Situation(
            what="upside down: the voxels are, the header does not say so",
            make=image(lambda: nifti(voxels()[:, :, ::-1])),
        ),
    ),
)
