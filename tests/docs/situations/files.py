"""How an image is stored: its format, its type of voxel, its name, and what has befallen it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.docs.situations.making import Make, image, nifti, one, place, save, voxels
from tests.docs.situations.situation import Group, Situation

NII = "sub-01_T1w.nii"


def _bytes(change: Callable[[bytes], bytes], name: str = NII) -> Make:
    """A file that holds what `change` makes of an unpacked NIfTI file."""
    return one(lambda path: path.write_bytes(change(nifti().to_bytes())), name)


def _scaled(slope: float, intercept: float) -> Make:
    def build() -> Any:
        found = nifti()
        found.header.set_slope_inter(slope, intercept)
        return found

    return image(build)


def _raw_scale(slope: float) -> Make:
    """The slope as four bytes of the header, as no library would write it."""

    def change(data: bytes) -> bytes:
        return data[:112] + np.float32(slope).tobytes() + data[116:]

    return _bytes(change)


def _extended() -> Any:
    found = nifti()
    found.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a scanner's words" * 99))
    return found


def _big_endian() -> Any:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    return nib.Nifti1Image(voxels().astype(">i2"), place(), header)


def _analyze(data: bytes) -> bytes:
    """The same without the word that makes a header NIfTI's."""
    return data[:344] + bytes(4) + data[348:]


def _rgb() -> Any:
    grey = (voxels() // 4).astype(np.uint8)
    colours = np.stack([grey] * 3, axis=-1).copy().view([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nifti(colours[..., 0])


def _pair(path: Path) -> None:
    nib.save(nib.Nifti1Pair(voxels(), place()), path)


def _mgz(path: Path) -> None:
    nib.save(nib.MGHImage(voxels().astype(np.float32), place()), path)


def _annexed(path: Path) -> None:
    path.symlink_to(f"../../.git/annex/objects/x1/Zq/MD5E-s5--0a1b.nii.gz/{path.name}")


def _linked(path: Path) -> None:
    path.symlink_to(save(path.parents[2] / "sourcedata" / "scan.nii.gz"))


def _damaged(path: Path) -> None:
    data = bytearray(save(path).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)


def _huge(data: bytes) -> bytes:
    """A header that asks for 2000 x 2000 x 2000 voxels."""
    return data[:42] + np.array([2000] * 3, "<i2").tobytes() + data[48:]


_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345678\n"


GROUP = Group(
    title="How the file is stored",
    about="All hold the same brain, or would.",
    situations=(
        Situation(what="int16, `.nii.gz`", make=one(save)),
        Situation(what="int16, `.nii`", make=one(save, NII)),
        Situation(what="big-endian", make=image(_big_endian)),
        Situation(what="NIfTI-2", make=image(lambda: nib.Nifti2Image(voxels(), place()))),
        Situation(what="a header extension of 1.7 kB", make=image(_extended)),
        Situation(what="slope 0.5, intercept -10", make=_scaled(0.5, -10)),
        Situation(what="slope -1: dark and bright swapped", make=_scaled(-1, 1000)),
        Situation(what="slope 0, which means none", make=_raw_scale(0)),
        Situation(what="slope NaN", make=_raw_scale(float("nan"))),
        Situation(what="float64", make=image(lambda: nifti(voxels().astype(np.float64)))),
        Situation(what="complex64", make=image(lambda: nifti(voxels().astype(np.complex64)))),
        Situation(what="RGB", make=image(_rgb)),
        Situation(what="4-D with one volume", make=image(lambda: nifti(voxels()[..., None]))),
        Situation(
            what="4-D with two volumes",
            make=image(lambda: nifti(np.stack([voxels()] * 2, axis=-1))),
        ),
        Situation(
            what="5-D, each of the last two 1", make=image(lambda: nifti(voxels()[..., None, None]))
        ),
        Situation(
            what="5-D, a vector a voxel",
            make=image(lambda: nifti(np.stack([voxels()] * 3, axis=-1)[..., None, :])),
        ),
        Situation(what="2-D, one slice", make=image(lambda: nifti(voxels()[:, :, 70]))),
        Situation(what="a pair, `.hdr` and `.img`", make=one(_pair, "sub-01_T1w.img")),
        Situation(what="Analyze 7.5 in one file named `.nii`", make=_bytes(_analyze)),
        Situation(what="FreeSurfer's `.mgz`", make=one(_mgz, "sub-01_T1w.mgz")),
        Situation(
            what="12 bytes after the voxels", make=_bytes(lambda data: data + b"left behind!")
        ),
        Situation(what="gzip, named `.nii`", make=_bytes(gzip.compress)),
        Situation(what="not packed, named `.nii.gz`", make=_bytes(bytes, "sub-01_T1w.nii.gz")),
        Situation(what="cut short, `.nii`", make=_bytes(lambda data: data[: len(data) // 2])),
        Situation(
            what="cut short, `.nii.gz`",
            make=one(lambda p: p.write_bytes(save(p).read_bytes()[:-9999])),
        ),
        Situation(what="64 bytes zeroed amid a `.nii.gz`", make=one(_damaged)),
        Situation(what="a header that asks for 2000 x 2000 x 2000 voxels", make=_bytes(_huge)),
        Situation(what="an empty file", make=one(Path.touch)),
        Situation(
            what="a web page, saved as `.nii.gz`", make=one(lambda p: p.write_text("<html>" * 99))
        ),
        Situation(what="a Git LFS pointer", make=one(lambda p: p.write_bytes(_LFS))),
        Situation(what="a git-annex link without its content", make=one(_annexed)),
        Situation(
            what="a link to nothing", make=one(lambda p: p.symlink_to("../../../scan.nii.gz"))
        ),
        Situation(what="a link to an image", make=one(_linked)),
        Situation(what="a folder of that name", make=one(Path.mkdir)),
    ),
)
