"""Training the segmenter: samples of random contrast and shape, Dice and cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ldm import noise
from ldm.anatomy import labels
from ldm.measuring import augment
from ldm.measuring.subjects import Labelled

SYNTHETIC_SHARE = (
    0.3  # of the strongly augmented samples: contrast made from the label map, not the T1w image
)
_SMOOTH = 1.0  # voxels: added to both sides of Dice's fraction


class SegmenterTask:
    """Tell the structures of `subjects` apart, whatever the contrast and the resolution.

    Args:
        subjects: all of one shape.
        seed: of the augmentation.
        strong: share of the samples that are bent, and of any contrast and resolution; the others
            are nearly as scanned.
    """

    def __init__(self, subjects: Sequence[Labelled], seed: int, strong: float) -> None:
        self.subjects = subjects
        self.count = len(subjects)
        self.seed = seed
        self.strong = strong

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`volume` (B, 1, X, Y, Z), `labels` (B, X, Y, Z) and `has_stem` (B,)."""
        drawn = [
            sample(
                self.subjects[i],
                noise.generator(noise.AUGMENT, self.seed, step, position),
                self.strong,
            )
            for i, position in zip(indices, positions, strict=True)
        ]
        has_stem = torch.tensor([self.subjects[i].has_stem for i in indices])
        return {
            "volume": torch.from_numpy(np.stack([volume for volume, _ in drawn])[:, None]),
            "labels": torch.from_numpy(np.stack([known for _, known in drawn])),
            "has_stem": has_stem,
        }

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of cross-entropy and 1 - Dice, and both."""
        logits = model(samples["volume"]).float()
        share = without_stem(logits.log_softmax(dim=1), samples["has_stem"])
        known = samples["labels"].long()
        entropy = nn.functional.nll_loss(share, known)
        dice = 1 - soft_dice(share.exp(), known)
        return entropy + dice, {"cross_entropy": entropy, "dice_loss": dice}


def sample(
    subject: Labelled, rng: np.random.Generator, strong: float
) -> tuple[np.ndarray, np.ndarray]:
    """A volume of the subject and its labels, each (X, Y, Z); `strong` is a share."""
    image, maps = subject.box.voxels, np.stack([subject.labels, subject.parts])
    if rng.random() >= strong:
        image, maps = augment.moved(image, maps, rng)
        return augment.scanned(image, rng, strength=0.3), np.ascontiguousarray(maps[0])
    synthetic = rng.random() < SYNTHETIC_SHARE
    image, maps = augment.warp(image, maps, rng)
    if synthetic:
        image = augment.contrast(maps[1], rng)
    return augment.scanned(image, rng), np.ascontiguousarray(maps[0])


def without_stem(share: Tensor, has_stem: Tensor) -> Tensor:
    """Log-probabilities (B, 6, ...), the stem's added to white matter's where it is not known."""
    merged = torch.logaddexp(share[:, labels.WHITE], share[:, labels.STEM])
    white = torch.where(has_stem[:, None, None, None], share[:, labels.WHITE], merged)
    channels = list(share.unbind(dim=1))
    channels[labels.WHITE] = white
    return torch.stack(channels, dim=1)


def soft_dice(share: Tensor, known: Tensor) -> Tensor:
    """Mean Dice of the structures over the batch (Milletari et al. 2016).

    Args:
        share: (B, 6, X, Y, Z) probabilities.
        known: (B, X, Y, Z) labels.
    """
    wanted = torch.stack([known == structure for structure in range(labels.COUNT)], dim=1)
    over = (0, 2, 3, 4)
    both = (share * wanted).sum(over)
    sizes = share.sum(over) + wanted.sum(over)
    present = wanted.sum(over) > 0
    dice = (2 * both + _SMOOTH) / (sizes + _SMOOTH)
    return dice[1:][present[1:]].mean()
