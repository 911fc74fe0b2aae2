"""What a scan shows and where it lies: a head or a brain, its face, its tilt, what is cut off."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ldm.anatomy.inspection.surroundings import outside_share, surroundings, to_voxels, within
from ldm.anatomy.registration import Registration
from ldm.volumes.background import background, masked_away
from ldm.volumes.grid import Grid

HEAD, BRAIN, UNDECIDED = "head", "brain", "undecided"
# Of what the brain's brightest tissue differs from the background: more is signal.
_SIGNAL = 0.12
_FINE = 4.0  # mm, to which a scan is smoothed before it is looked at
# A head has signal above at least this share of the brain's surface, 6 to 18 mm out. Measured:
# brains 0.00 to 0.13 (the most of one z-scored inside its mask), heads 0.27 to 1.00.
_LEAST_SCALP = 0.2
# A face has signal in at least this share of where nose, mouth and cheeks are. Measured: Colin27
# 0.35 and more; defaced heads below 0.01.
_LEAST_FACE = 0.15
# Noise of a normal distribution seldom reaches so many standard deviations; and where that is more
# than so much of the brain's brightest tissue, a scalp cannot be told from noise.
_NOISE, _MOST_NOISE = 3.0, 0.6
_ENOUGH_AIR = 500  # points of 2 mm from which noise is told


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found in a placed scan.

    Attributes:
        kind: "head", skull and scalp included, "brain", or "undecided" where noise may hide it.
        face: whether nose, mouth and cheeks are there.
        turned: degrees between its axes as placed and the template's.
        shifted: mm between the middle of its brain as placed and the template's.
        cut: share of the brain that lies outside the grid.
        unseen: share of the brain that lies outside the scan.
        taken: share of the brain that its own mask took away.
        head_cut: share of a head, above eyes and ears, that lies outside the grid; 0 of a brain.
    """

    kind: str
    face: bool
    turned: float
    shifted: float
    cut: float
    unseen: float
    head_cut: float
    taken: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Inspection:
        return cls(**document)


def inspect(
    data: np.ndarray,
    affine: np.ndarray,
    registration: Registration,
    placed: np.ndarray,
    grid: Grid,
) -> Inspection:
    """Look at a scan and at where it is put.

    Args:
        data: (X, Y, Z) float32, any contrast in which tissue differs from the background.
        affine: (4, 4) voxel to world mm.
        registration: of the scan in that world.
        placed: (4, 4) voxel to the grid's mm, as the scan is put there.
        grid: on which it is put.
    """
    around = surroundings()
    seen = _Seen(data, affine, registration)
    head = max(seen.scalp(by) for by in (registration.rigid, registration.affine)) >= _LEAST_SCALP
    to_grid = placed @ np.linalg.inv(affine)
    brain = _moved(around.brain, np.linalg.inv(registration.affine))
    cranium = _moved(around.cranium, np.linalg.inv(registration.rigid))
    turned, shifted = _apart(to_grid @ np.linalg.inv(registration.rigid), around.brain)
    return Inspection(
        kind=HEAD if head else UNDECIDED if seen.drowned else BRAIN,
        face=head and bool(seen.signal(around.face, registration.rigid).mean() >= _LEAST_FACE),
        turned=round(turned, 1),
        shifted=round(shifted, 1),
        cut=_share(brain, to_grid, grid),
        unseen=round(outside_share(brain, affine, data.shape), 4),
        taken=_taken(data, affine, registration, around.brain),
        head_cut=_share(
            cranium[:, seen.signal(around.cranium, registration.rigid)] if head else cranium[:, :0],
            to_grid,
            grid,
        ),
    )


class _Seen:
    """A scan, smoothed, and where it has signal."""

    def __init__(self, data: np.ndarray, affine: np.ndarray, registration: Registration) -> None:
        from scipy import ndimage

        sides = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        # Full width at half maximum of the smoothed scan, less that of its voxel.
        sigma = np.sqrt(np.maximum((_FINE / sides) ** 2 - 1, 0)) / 2.355
        self._data = ndimage.gaussian_filter(data, sigma)
        self._affine = affine
        self._outside = background(self._data).value
        brain = self._contrast(surroundings().brain, registration.affine)
        brightest = float(np.percentile(brain, 98))
        noise = _NOISE * self._noise(registration.rigid)
        self._least = max(_SIGNAL * brightest, noise)
        self.drowned = noise > _MOST_NOISE * brightest

    def _noise(self, to_mni: np.ndarray) -> float:
        """Standard deviation of the air around the head; 0 where the scan shows too little."""
        air = self._values(surroundings().air, to_mni)
        middle = np.median(np.abs(air - np.median(air))) if air.size >= _ENOUGH_AIR else 0.0
        return float(1.4826 * middle)  # of a normal distribution's median absolute deviation

    def scalp(self, to_mni: np.ndarray) -> float:
        """Share of the brain's surface above which there is signal outside the brain."""
        around = surroundings()
        above = np.zeros(around.columns, dtype=bool)
        np.logical_or.at(above, around.column, self.signal(around.scalp, to_mni))
        return float(above.mean())

    def signal(self, points: np.ndarray, to_mni: np.ndarray) -> np.ndarray:
        """Whether there is signal at each MNI point (3, N), (N,) bool; outside the scan is none."""
        return self._contrast(points, to_mni) > self._least

    def _contrast(self, points: np.ndarray, to_mni: np.ndarray) -> np.ndarray:
        """How much the scan differs from its background at MNI points (3, N), (N,)."""
        seen = self._inside(points, to_mni)
        found = np.zeros(points.shape[1])
        found[seen] = np.abs(self._values(points[:, seen], to_mni) - self._outside)
        return found

    def _inside(self, points: np.ndarray, to_mni: np.ndarray) -> np.ndarray:
        return within(to_voxels(points, to_mni @ self._affine), self._data.shape)

    def _values(self, points: np.ndarray, to_mni: np.ndarray) -> np.ndarray:
        """The scan at those of MNI points (3, N) that it shows."""
        from scipy import ndimage

        voxels = to_voxels(points, to_mni @ self._affine)
        voxels = voxels[:, within(voxels, self._data.shape)]
        return np.asarray(ndimage.map_coordinates(self._data, voxels, order=1, mode="nearest"))


def _taken(
    data: np.ndarray, affine: np.ndarray, registration: Registration, brain: np.ndarray
) -> float:
    """Share of the template's brain (3, N), bent onto the person's size, that a mask took away."""
    from scipy import ndimage

    if (away := masked_away(data)) is None:
        return 0.0
    voxels = to_voxels(brain, registration.affine @ affine)
    voxels = voxels[:, within(voxels, data.shape)]
    found = ndimage.map_coordinates(away.astype(np.uint8), voxels, order=0, mode="nearest")
    return round(float(found.sum()) / brain.shape[1], 4)


def _moved(points: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return np.asarray(motion[:3, :3] @ points + motion[:3, 3:])


def _apart(motion: np.ndarray, brain: np.ndarray) -> tuple[float, float]:
    """Degrees by which a motion turns, and mm by which it moves the brain's middle."""
    left, _, right = np.linalg.svd(motion[:3, :3])
    cosine = (np.trace(left @ right) - 1) / 2
    middle = brain.mean(axis=1, keepdims=True)
    shift = np.linalg.norm(_moved(middle, motion) - middle)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), float(shift)


def _share(points: np.ndarray, to_grid: np.ndarray, grid: Grid) -> float:
    return round(outside_share(_moved(points, to_grid), grid.affine, grid.shape), 4)
