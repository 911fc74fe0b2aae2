"""Volumes as vectors to compare: coarse correlation images, features of others' networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ldm.errors import LdmError
from ldm.networks.medicalnet import MedicalNetFeatures, read_medicalnet
from ldm.networks.radimagenet import read_radimagenet

LONGEST = 20  # voxels of the longest side: 8 mm for a head of 160 mm


def image_vectors(volumes: np.ndarray, *, longest: int = LONGEST) -> np.ndarray:
    """Volumes (N, X, Y, Z) as unit vectors (N, D): averaged to a coarse grid and z-scored.

    The squared Euclidean distance of two vectors is 2 (1 - r), r the correlation of the coarse
    images, so neither brightness nor contrast tells. Volumes of one grid in one space; the flip
    of a volume about the mid-sagittal plane is `mirror`.

    Args:
        longest: voxels along the longest side of the coarse grid, the others in proportion.

    Returns:
        float64.

    Raises:
        LdmError: no volumes, not finite, or one that is constant.
    """
    import torch
    import torch.nn.functional as F

    if volumes.ndim != 4 or not volumes.size:
        raise LdmError(f"volumes of shape {volumes.shape}: expected (N, X, Y, Z)")
    sides = volumes.shape[1:]
    x, y, z = (min(side, max(1, round(side * longest / max(sides)))) for side in sides)
    rows = []
    for volume in volumes:  # one at a time: a cohort at full size need not be held twice
        found = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
        rows.append(F.adaptive_avg_pool3d(found, (x, y, z)).flatten().double().numpy())
    vectors = np.stack(rows)
    vectors -= vectors.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms < 1e-9).any():
        wrong = int(np.flatnonzero(~(norms[:, 0] >= 1e-9))[0])
        raise LdmError(f"volume {wrong}: constant, or voxels that are not finite numbers")
    return np.asarray(vectors / norms)


def mirror(volumes: np.ndarray) -> np.ndarray:
    """Volumes (N, X, Y, Z) with left and right exchanged: X runs left to right in RAS, and the
    grid's middle lies on the mid-sagittal plane."""
    return np.asarray(volumes[:, ::-1])


class MedicalNet:
    """A MedicalNet ResNet (Chen et al. 2019), as the authors of the paper use it.

    Every volume is z-scored by itself, and the last stage averaged over space.

    Args:
        path: `resnet_50_23dataset.pth`, 2048 features (the authors'), or resnet_10's, 512.
        device: on which it computes, "cpu" or "cuda".

    Raises:
        LdmError: no such file, or other weights.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        network = read_medicalnet(path, option="--medicalnet")
        self._device = torch.device(device)
        self._stages = MedicalNetFeatures(network.eval().requires_grad_(False).to(self._device))

    @torch.inference_mode()
    def features(self, volumes: np.ndarray) -> np.ndarray:
        """(N, F) float32 of volumes (N, X, Y, Z) float32 at once: as many as memory holds.

        What one volume gives does not depend on the others, but for rounding.
        """
        given = torch.from_numpy(np.ascontiguousarray(volumes))[:, None].to(self._device)
        return np.asarray(self._stages(given)[-1].mean(dim=(2, 3, 4)).cpu().numpy())


class RadImageNet:
    """RadImageNet's ResNet-50 (Mei et al. 2022) of slices in three planes.

    A volume's features are the mean over 16 slices a plane, evenly spaced over the middle seven
    tenths of each side; a slice is scaled to [-1, 1], as in training, and its last stage averaged
    over space.

    Args:
        path: `ResNet50.pt`, 2048 features.
        device: on which it computes, "cpu" or "cuda".

    Raises:
        LdmError: no such file, or other weights.
    """

    SLICES, MIDDLE = 16, 0.7

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._network = read_radimagenet(path, option="--radimagenet").to(self._device)

    @torch.inference_mode()
    def features(self, volumes: np.ndarray) -> np.ndarray:
        """(N, 2048) float32 of volumes (N, X, Y, Z) float32 of 0 to 1."""
        return np.stack([self._of(volume) for volume in volumes])

    def _of(self, volume: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))
        total = torch.zeros(2048)
        for axis, side in enumerate(volume.shape):
            margin = (side - 1) * (1 - self.MIDDLE) / 2
            places = torch.linspace(margin, side - 1 - margin, self.SLICES).round().long()
            slices = given.movedim(axis, 0)[places, None].expand(-1, 3, -1, -1)
            total += self._network((2 * slices - 1).to(self._device)).sum(dim=0).cpu()
        return np.asarray((total / (3 * self.SLICES)).numpy())
