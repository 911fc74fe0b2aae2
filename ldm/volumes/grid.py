"""The voxel grid that a model works on: its shape, spacing, and the space in which it lies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ldm.errors import LdmError

MOST_VOXELS = 2**28  # 640 x 640 x 640; a scan at 0.4 mm has 2e8
# Middle of the MNI152 brain (mm): where a centred, brain-masked volume is placed.
MNI_CENTRE = (0.0, -17.0, 5.0)
# Where volumes lie that the template lies on; and those of whom the middle alone was placed.
MNI, CENTRED = "MNI152", "centred"
# What a NIfTI header says of each: its sform_code and qform_code, in nibabel's words.
_CODES = {MNI: "mni", CENTRED: "aligned"}
_TEXTS = {MNI: "MNI space", CENTRED: "each centred on the grid, in no template's space"}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """An axis-aligned RAS voxel grid.

    Attributes:
        shape: voxels along x (left to right), y (posterior to anterior), z (inferior to superior).
        spacing: side of a voxel in mm, the same along each axis.
        centre: coordinates (mm) of the middle of the grid, in its space.
        space: "MNI152", or "centred": heads are put there by the middle of their images, and no
            coordinate means the same place in two of them.

    Raises:
        LdmError: a side below 8 voxels, a spacing that is not positive, or another space.
    """

    shape: tuple[int, int, int]
    spacing: float
    centre: tuple[float, float, float] = MNI_CENTRE
    space: str = MNI

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 8:
            raise LdmError(f"grid shape {self.shape}: expected three sides of at least 8 voxels")
        if math.prod(self.shape) > MOST_VOXELS:
            raise LdmError(f"grid shape {self.shape}: expected at most {MOST_VOXELS:,} voxels")
        if not 0 < self.spacing < math.inf:
            raise LdmError(f"grid spacing {self.spacing} mm: expected a positive number")
        if not all(map(math.isfinite, self.centre)):
            raise LdmError(f"grid centre {self.centre}: expected three finite numbers")
        if self.space not in _CODES:
            raise LdmError(f"grid space {self.space!r}: expected one of {', '.join(_CODES)}")

    @property
    def affine(self) -> np.ndarray:
        """Voxel indices to millimetres of its space, (4, 4) float64, RAS."""
        matrix = np.diag([self.spacing] * 3 + [1.0])
        half = (np.array(self.shape) - 1) / 2
        matrix[:3, 3] = np.array(self.centre) - self.spacing * half
        return matrix

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm3."""
        return float(self.spacing**3)

    @property
    def nifti_code(self) -> str:
        """The sform and qform code of its volumes' headers: "mni" (4), or "aligned" (2)."""
        return _CODES[self.space]

    @property
    def space_text(self) -> str:
        """Its space for people: "MNI space"."""
        return _TEXTS[self.space]

    def same_voxels(self, other: Grid) -> bool:
        """Whether both have the same voxels, whatever their spaces are called."""
        return replace(self, space=other.space) == other

    def to_json(self) -> dict[str, Any]:
        """Without a word of MNI space, as before there was another."""
        told = {"shape": list(self.shape), "spacing": self.spacing, "centre": list(self.centre)}
        return told if self.space == MNI else {**told, "space": self.space}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Grid:
        x, y, z = (int(side) for side in document["shape"])
        cx, cy, cz = (float(c) for c in document["centre"])
        return cls(
            shape=(x, y, z),
            spacing=float(document["spacing"]),
            centre=(cx, cy, cz),
            space=str(document.get("space", MNI)),
        )
