"""The voxel grid that a model works on: its shape, spacing and place in MNI space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldm.errors import LdmError

MOST_VOXELS = 2**28  # 640 x 640 x 640; a scan at 0.4 mm has 2e8
# Middle of the MNI152 brain (mm): where a centred, brain-masked volume is placed.
MNI_CENTRE = (0.0, -17.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """An axis-aligned RAS voxel grid.

    Attributes:
        shape: voxels along x (left to right), y (posterior to anterior), z (inferior to superior).
        spacing: side of a voxel in mm, the same along each axis.
        centre: MNI coordinates (mm) of the middle of the grid.

    Raises:
        LdmError: a side below 8 voxels, or a spacing that is not positive.
    """

    shape: tuple[int, int, int]
    spacing: float
    centre: tuple[float, float, float] = MNI_CENTRE

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 8:
            raise LdmError(f"grid shape {self.shape}: expected three sides of at least 8 voxels")
        if math.prod(self.shape) > MOST_VOXELS:
            raise LdmError(f"grid shape {self.shape}: expected at most {MOST_VOXELS:,} voxels")
        if not 0 < self.spacing < math.inf:
            raise LdmError(f"grid spacing {self.spacing} mm: expected a positive number")
        if not all(map(math.isfinite, self.centre)):
            raise LdmError(f"grid centre {self.centre}: expected three finite numbers")

    @property
    def affine(self) -> np.ndarray:
        """Voxel indices to MNI millimetres, (4, 4) float64, RAS."""
        matrix = np.diag([self.spacing] * 3 + [1.0])
        half = (np.array(self.shape) - 1) / 2
        matrix[:3, 3] = np.array(self.centre) - self.spacing * half
        return matrix

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm3."""
        return float(self.spacing**3)

    def to_json(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "spacing": self.spacing, "centre": list(self.centre)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Grid:
        x, y, z = (int(side) for side in document["shape"])
        cx, cy, cz = (float(c) for c in document["centre"])
        return cls(shape=(x, y, z), spacing=float(document["spacing"]), centre=(cx, cy, cz))
