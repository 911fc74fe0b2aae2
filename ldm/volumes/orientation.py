"""Where a NIfTI header says that its voxels lie, which of its two forms is used, and what is
doubtful about it.

NIfTI-1 (nifti.nimh.nih.gov, "method 1, 2, 3") gives an image an sform, a qform, both or neither,
each with a code; as nibabel does, the sform is used where its code is not 0, else the qform. With
neither, only the sizes of voxels are known: left and right are then a guess.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError

from ldm.errors import LdmError

SIDES_MM = (0.1, 50.0)  # of a voxel
MOST_MM = 600.0  # of the whole image along an axis

# What is noted of an image's place.
GUESS = "orientation-guess"
DIFFER = "qform-sform-differ"
MIRRORED = "qform-sform-mirrored"
UNUSABLE = "sform-unusable"
SIZES = "voxel-sizes-differ"
SHEARED = "sheared"
PARTIAL = "partial-head"
THICK = "thick-slices"

_CORNER_MM = 1.0  # two forms that are no further apart at any corner are the same
_SHEAR_DEGREES = 1.0
_HEAD_MM = 80.0  # no side of a whole head, or of a brain cut out of it, is shorter
_THICK_MM, _THICK_RATIO = 2.5, 2.5


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The place of an image's voxels.

    Attributes:
        shape: (X, Y, Z).
        affine: (4, 4), voxel to world, mm.
        notes: codes of what is doubtful.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def sides(self) -> np.ndarray:
        """(3,) of a voxel, mm."""
        return _sides(self.affine)


def frame(header: Any, shape: tuple[int, ...]) -> Frame:
    """The place that a NIfTI header gives to voxels of `shape`.

    Raises:
        LdmError: no form that can be used: not finite, flat, or of no head's size.
    """
    forms = _forms(header)
    problems = [_problem(affine, shape) for _, affine in forms]
    good = [form for form, problem in zip(forms, problems, strict=True) if problem is None]
    if not good:
        raise LdmError(f"unreadable image ({problems[0]})")
    name, affine = good[0]
    notes = [GUESS] if name == "guess" else []
    if len(good) == 2:
        notes += _disagreement(good[0][1], good[1][1], shape)
    elif len(forms) == 2 and name == "qform":
        notes.append(UNUSABLE)
    pixdim = np.abs(np.asarray(header.get_zooms()[:3], dtype=np.float64))
    sides = _sides(affine)
    if (pixdim > 0).all() and (np.abs(sides / pixdim - 1) > 0.01).any():
        notes.append(SIZES)
    axes = affine[:3, :3] / sides
    cosines = np.abs((axes.T @ axes)[np.triu_indices(3, 1)])
    if np.degrees(np.arcsin(np.minimum(cosines, 1))).max() > _SHEAR_DEGREES:
        notes.append(SHEARED)
    if (sides * shape).min() < _HEAD_MM:
        notes.append(PARTIAL)
    if sides.max() > max(_THICK_MM, _THICK_RATIO * sides.min()):
        notes.append(THICK)
    return Frame(shape=shape, affine=affine, notes=tuple(notes))


def _forms(header: Any) -> list[tuple[str, np.ndarray]]:
    """The forms that a header says are to be used, the first of them first."""
    forms: list[tuple[str, np.ndarray]] = []
    if int(header["sform_code"]) > 0:
        forms.append(("sform", np.asarray(header.get_sform(), dtype=np.float64)))
    if int(header["qform_code"]) > 0:
        try:
            forms.append(("qform", np.asarray(header.get_qform(), dtype=np.float64)))
        except (HeaderDataError, ValueError):  # no quaternion
            forms.append(("qform", np.full((4, 4), np.nan)))
    return forms or [("guess", np.asarray(header.get_base_affine(), dtype=np.float64))]


def _problem(affine: np.ndarray, shape: tuple[int, ...]) -> str | None:
    """Why an affine is none of a scan of a head, whose resampling would take for ever."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e6:
        return "its affine is not finite"
    sides = _sides(affine)
    if not ((sides >= SIDES_MM[0]) & (sides <= SIDES_MM[1])).all():
        expected = f"expected {SIDES_MM[0]:g} to {SIDES_MM[1]:g} mm"
        return f"voxels of {_told(sides)} mm, {expected}"
    if abs(np.linalg.det(affine[:3, :3] / sides)) < 1e-3:
        return "its affine cannot be inverted"
    if (extent := sides * shape).max() > MOST_MM:
        return f"{_told(extent)} mm, expected at most {MOST_MM:g} mm a side"
    return None


def _disagreement(used: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    corners = np.array(list(itertools.product(*((0, side - 1) for side in shape)))).T
    apart = (used - other)[:3, :3] @ corners + (used - other)[:3, 3:]
    if np.linalg.norm(apart, axis=0).max() <= _CORNER_MM:
        return []
    mirrored = np.linalg.det(used[:3, :3]) * np.linalg.det(other[:3, :3]) < 0
    return [DIFFER, MIRRORED] if mirrored else [DIFFER]


def _sides(affine: np.ndarray) -> np.ndarray:
    sides: np.ndarray = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return sides


def _told(lengths: np.ndarray) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths)
