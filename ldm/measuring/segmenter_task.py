"""Training the segmenter: samples of random contrast and shape, Dice, cross-entropy, the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldm.anatomy import labels
from ldm.errors import LdmError
from ldm.measuring.box import SHAPE
from ldm.measuring.fitting import augment
from ldm.measuring.fitting.run import card_of, trained
from ldm.measuring.fitting.subjects import (
    TRAIN,
    VIRTUAL_SEEDS,
    Labelled,
    real_subjects,
    virtual_subjects,
)
from ldm.measuring.network import SegmenterConfig, SegmenterNetwork
from ldm.measuring.segmenter import write_segmenter
from ldm.training import checkpoint
from ldm.training.config import TrainingConfig

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
        chances = augment.draws(self.seed, step, positions)
        drawn = [
            sample(self.subjects[i], rng, self.strong)
            for i, rng in zip(indices, chances, strict=True)
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
    maps = np.stack([subject.labels, subject.parts])
    image, maps = augment.sample(
        subject.box.voxels, maps, rng, strong=strong, synthetic=SYNTHETIC_SHARE
    )
    return image, maps[0]


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


def train_segmenter(
    bids: Path,
    out: Path,
    config: TrainingConfig,
    shape: SegmenterConfig,
    *,
    virtual: int,
    strong: float,
    begin: Path | None = None,
    command: str,
    tell: Callable[[str], object],
) -> None:
    """Train a segmenter and write `out`/tool, or go on from the checkpoint in `out`.

    Args:
        bids: a cohort with MUSE label maps, see `real_subjects`; those held out are not read.
        virtual: how many virtual subjects join the real ones.
        strong: share of the samples that are strongly augmented, see `SegmenterTask`.
        begin: folder of a run whose weights to begin with.
        command: that does this again, for the tool's card.
        tell: takes a line about each stage, and one of JSON with the losses at each checkpoint.

    Raises:
        LdmError: no such cohort, `out` holds another run, or `begin` does not fit.
    """
    subjects = [*real_subjects(bids, TRAIN, SHAPE), *virtual_subjects(TRAIN, virtual, SHAPE)]
    identity = {
        "config": config.identity(),
        "network": {**shape.to_json(), "channels": list(shape.channels)},
        "strong": strong,
        "subjects": [subject.name for subject in subjects],
    }
    tell(f"{len(subjects)} subjects, {virtual} of them virtual")
    torch.manual_seed(config.seed)
    network = SegmenterNetwork(shape)
    if begin is not None:
        identity["from"] = begin_with(network, begin)
    task = SegmenterTask(subjects, config.seed, strong)
    average = trained(network, task, config, out, identity, tell)
    card = card_of(bids, command, identity)
    card["training"] |= {"virtual_subjects": virtual, "virtual_seed": VIRTUAL_SEEDS["train"]}
    write_segmenter(out / "tool", average, card)  # type: ignore[arg-type]
    tell(f"{out / 'tool'}: trained for {config.steps} steps")


def begin_with(network: SegmenterNetwork, run: Path) -> dict[str, Any]:
    """Give `network` the averaged weights of a run, those layers that the run has; and tell it.

    Raises:
        LdmError: no such run, or layers of other shapes.
    """
    groups, meta = checkpoint.read(run / "checkpoint")
    try:
        strange = network.load_state_dict(groups["average"], strict=False).unexpected_keys
    except RuntimeError as error:
        raise LdmError(f"{run}: a network of another shape ({str(error)[:200]})") from None
    if strange:
        raise LdmError(f"{run}: layers that this network lacks: {', '.join(strange[:3])}")
    return {
        "step": meta["step"],
        **{k: meta["identity"].get(k) for k in ("config", "network", "strong", "from")},
    }
