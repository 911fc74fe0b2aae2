"""The features on which the paper measures FID: MedicalNet, pooled over the whole volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ldm.training.perceptual import MedicalNetFeatures, read_medicalnet


class MedicalNet:
    """A MedicalNet ResNet (Chen et al. 2019), as the authors of the paper use it.

    Every volume is z-scored by itself, and the last stage averaged over space.

    Args:
        path: `resnet_50_23dataset.pth`, 2048 features (the authors'), or resnet_10's, 512.

    Raises:
        LdmError: no such file, or other weights.
    """

    def __init__(self, path: Path) -> None:
        network = read_medicalnet(path, option="--medicalnet")
        self._stages = MedicalNetFeatures(network.eval().requires_grad_(False))

    @torch.inference_mode()
    def features(self, volume: np.ndarray) -> np.ndarray:
        """(F,) float32 of a volume (X, Y, Z) float32."""
        last = self._stages(torch.from_numpy(np.ascontiguousarray(volume))[None, None])[-1]
        return np.asarray(last[0].mean(dim=(1, 2, 3)).numpy())
