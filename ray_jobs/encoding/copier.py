"""Which copies of a subject are encoded, and what their covariates are multiplied by."""

from __future__ import annotations

import numpy as np

from ldm.anatomy.copies import WHOLE, moved
from ldm.anatomy.deformed import CHANGED, deformed
from ldm.measuring.segmenter import load_segmenter
from ldm.volumes.grid import Grid


class Copier:
    """The copies of a volume on a grid; with `deform` all but the first two are bent."""

    def __init__(self, grid: Grid, count: int, deform: bool) -> None:
        self._grid, self._count, self._deform = grid, count, deform

    def copies(self, volume: np.ndarray) -> tuple[list[np.ndarray], dict[str, list[float]]]:
        """Copies (X, Y, Z) in [0, 1] of a volume; of bent ones the factors, a value a copy.

        Raises:
            LdmError: to be bent, and no brain cut out of its head.
        """
        seed = _seed(volume)
        if not self._deform:
            return [moved(volume, seed, copy) for copy in range(self._count)], {}
        found = load_segmenter().segment(volume, self._grid.affine)
        shares = found.shares_on(volume.shape, self._grid.affine)
        volumes: list[np.ndarray] = []
        factors: dict[str, list[float]] = {name: [] for name in CHANGED}
        for copy in range(self._count):
            if copy < WHOLE:
                volumes.append(moved(volume, seed, copy))
                told = dict.fromkeys(CHANGED, 1.0)
            else:
                bent = deformed(volume, shares, self._grid.spacing, seed, copy)
                volumes.append(bent.volume)
                told = bent.factors
            for name, factor in told.items():
                factors[name].append(factor)
        return volumes, factors


def _seed(volume: np.ndarray) -> int:
    """A number that is the volume's own, so that subjects move differently."""
    return int(volume.sum(dtype=np.float64) * 16) % 2**31
