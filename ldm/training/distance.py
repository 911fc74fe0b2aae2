"""Perceptual distances: how far two volumes are apart in the features of a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ldm.networks.layout import Placed

# (found, wanted) (B, 1, X, Y, Z) and a number a sample (B,) for what is drawn -> a mean distance
Perceptual = Callable[[Tensor, Tensor, Tensor], Tensor]


class FeatureDistance:
    """LPIPS with equal weights (Zhang et al. 2018 eq. 1) over the features of several levels.

    At every position the features are scaled to length one; the squared difference is summed
    over channels and averaged over positions and levels. 0 for equal volumes, 4 at most.
    """

    def __init__(self, features: Callable[[Tensor], list[Tensor]]) -> None:
        self._features = features

    def __call__(self, found: Tensor, wanted: Tensor, keys: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            aims = [unit(f) for f in self._features(wanted)]
        pairs = zip(self._features(found), aims, strict=True)
        return torch.stack([(unit(f) - aim).pow(2).sum(1).mean() for f, aim in pairs]).mean()


def unit(features: Tensor) -> Tensor:
    """(B, C, x, y, z) float32 with each position's vector scaled to length one."""
    features = features.float()
    return features * (features.pow(2).sum(1, keepdim=True) + 1e-8).rsqrt()


class MonaiDistance(Placed):
    """MONAI's `PerceptualLoss`, a sample at a time, its slices a function of the sample's key.

    MONAI draws them from PyTorch's global stream, which a resumed run could not repeat.
    """

    def __call__(self, found: Tensor, wanted: Tensor, keys: Tensor) -> Tensor:
        loss = self.on(found)
        with torch.random.fork_rng(devices=[]):
            distances = []
            for number, key in enumerate(keys.tolist()):
                torch.manual_seed(key)
                one = slice(number, number + 1)
                distances.append(loss(found[one], wanted[one]))
        return torch.stack(distances).mean()
