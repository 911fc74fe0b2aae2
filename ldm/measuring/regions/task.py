"""Training the region tool: samples, the loss, the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ldm.anatomy import labels, regions
from ldm.measuring.box import SHAPE
from ldm.measuring.fitting import augment
from ldm.measuring.fitting.run import card_of, trained
from ldm.measuring.fitting.subjects import TRAIN, Labelled, real_subjects
from ldm.measuring.regions.network import KINDS, RegionConfig, in_cells, network_for, within
from ldm.measuring.regions.tool import segmenter_digest, write_region_tool
from ldm.measuring.segmenter import load_segmenter
from ldm.training.config import TrainingConfig

SYNTHETIC_SHARE = 0.1  # of the strongly augmented samples: contrast made from the label map
ABOUT = "58 regions of the brain on a brain-only T1w image, after DLMUSE's label maps"
_SMOOTH = 1.0  # voxels: added to both sides of Dice's fraction

# Of a region's number: its kind, and 0 left, 1 right, 2 neither.
_KIND = np.full(256, regions.UNKNOWN, dtype=np.uint8)
_SIDE = np.full(256, 2, dtype=np.uint8)
_OTHER = np.arange(256, dtype=np.uint8)  # the same kind on the other side
for _region in regions.REGIONS:
    _KIND[_region.number] = _region.kind
    if _region.side:
        _SIDE[_region.number] = int(_region.side == regions.RIGHT)
        _OTHER[_region.number] = regions.NUMBERS[_region.kind].sum() - _region.number


class RegionTask:
    """Tell the regions of `subjects` apart, from what a trained segmenter sees of them.

    Args:
        subjects: real ones, all of one shape.
        segmenter: its network, frozen.
        seed: of the augmentation.
        strong: share of the samples that are bent, and of any contrast and resolution.
    """

    def __init__(
        self, subjects: Sequence[Labelled], segmenter: nn.Module, seed: int, strong: float
    ) -> None:
        self.subjects, self.segmenter = subjects, segmenter.eval().requires_grad_(False)
        self.count = len(subjects)
        self.seed, self.strong = seed, strong

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`volume` (B, 1, X, Y, Z), and (B, X, Y, Z) `structure`, `kind` and `side` (0 left, 1
        right, 2 neither)."""
        chances = augment.draws(self.seed, step, positions)
        drawn = [
            sample(self.subjects[i], rng, self.strong)
            for i, rng in zip(indices, chances, strict=True)
        ]
        volumes, structures, known = (np.stack(each) for each in zip(*drawn, strict=True))
        return {
            "volume": torch.from_numpy(volumes[:, None]),
            "structure": torch.from_numpy(structures),
            "kind": torch.from_numpy(_KIND[known]),
            "side": torch.from_numpy(_SIDE[known]),
        }

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the kinds' cross-entropy, 1 - Dice, and the sides' cross-entropy."""
        volume = samples["volume"]
        network: Any = self.segmenter
        with torch.no_grad():
            seen = network.see(volume)
        patch = network.config.patch
        maps = [in_cells(samples[name], patch) for name in ("structure", "kind", "side")]
        told = (maps[1] != regions.UNKNOWN) & (maps[0] != labels.BACKGROUND)
        wanted = told.any(dim=-1)
        structure, kind, side = (one[told] for one in maps)
        found, kind = model(volume, seen, wanted)[told[wanted]].float(), kind.long()
        share = within(found, structure)
        entropy = functional.nll_loss(share, kind)
        dice = 1 - soft_dice(share.exp(), kind)
        paired = side != 2
        sides = functional.binary_cross_entropy_with_logits(
            found[paired, KINDS], side[paired].float()
        )
        return entropy + dice + sides, {"kinds": entropy, "dice_loss": dice, "sides": sides}


def sample(
    subject: Labelled, rng: np.random.Generator, strong: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A volume of the subject, its structures and its regions, each (X, Y, Z)."""
    maps = np.stack([subject.labels, subject.regions, subject.parts])
    image, maps = augment.sample(
        subject.box.voxels, maps, rng, strong=strong, synthetic=SYNTHETIC_SHARE
    )
    return image, maps[0], as_seen(maps[1])


def as_seen(known: np.ndarray) -> np.ndarray:
    """A map of regions (X, Y, Z), left and right named anew where it was mirrored."""
    x = np.arange(known.shape[0])[:, None, None]
    side = _SIDE[known]
    left, right = ((x * (side == one)).sum() / max(1, (side == one).sum()) for one in (0, 1))
    return _OTHER[known] if left > right else known


def soft_dice(share: Tensor, kind: Tensor) -> Tensor:
    """Mean Dice of the kinds that are there (Milletari et al. 2016).

    Args:
        share: (N, 32) probabilities of voxels.
        kind: (N,) what they are.
    """
    there = torch.bincount(kind, minlength=KINDS).float()
    right = share.gather(1, kind[:, None])[:, 0]
    both = torch.zeros_like(there).index_add(0, kind, right)
    sizes = share.sum(dim=0) + there
    return ((2 * both + _SMOOTH) / (sizes + _SMOOTH))[there > 0].mean()


def train_regions(
    bids: Path,
    out: Path,
    config: TrainingConfig,
    shape: RegionConfig,
    *,
    strong: float,
    command: str,
    tell: Callable[[str], object],
) -> None:
    """Train a region tool on the shipped segmenter and write `out`/tool, or go on in `out`.

    Args:
        bids: a cohort with MUSE label maps, see `real_subjects`; those held out are not read.
        strong: share of the samples that are strongly augmented, see `RegionTask`.
        command: that does this again, for the tool's card.
        tell: takes a line about each stage, and one of JSON with the losses at each checkpoint.

    Raises:
        LdmError: no such cohort, or `out` holds another run.
    """
    subjects = list(real_subjects(bids, TRAIN, SHAPE))
    identity = {
        "config": config.identity(),
        "network": {**shape.to_json(), "channels": list(shape.channels)},
        "segmenter": segmenter_digest(),
        "strong": strong,
        "subjects": [subject.name for subject in subjects],
    }
    tell(f"{len(subjects)} subjects")
    torch.manual_seed(config.seed)
    segmenter = load_segmenter().network
    network = network_for(shape, segmenter)
    task = RegionTask(subjects, segmenter, config.seed, strong)
    average = trained(network, task, config, out, identity, tell)
    card = {"description": ABOUT, **card_of(bids, command, identity)}
    write_region_tool(out / "tool", average, card)  # type: ignore[arg-type]
    tell(f"{out / 'tool'}: trained for {config.steps} steps")
