"""The segmenter: a brain-only T1w to its structures, their volumes, and features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from ldm.anatomy import labels
from ldm.errors import LdmError
from ldm.measuring.box import MULTIPLE, SPACING, Box, refuse_head, to_box
from ldm.measuring.network import Seen, SegmenterConfig, SegmenterNetwork, pooled
from ldm.measuring.tool_folder import SEGMENTER, read, shipped, write
from ldm.networks.weights import build, load_weights, weight_bytes

WEIGHTS = "segmenter.safetensors"


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """What the segmenter says of one image.

    Attributes:
        box: the brain in the segmenter's box, 2 mm.
        shares: (6, X, Y, Z) float32, the probability of each structure (`labels.NAMES`) there.
        features: (208,) float32, every level of the encoder averaged over the brain.
    """

    box: Box
    shares: np.ndarray
    features: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """(X, Y, Z) uint8 in the box: the most probable structure."""
        return np.asarray(self.shares.argmax(axis=0), dtype=np.uint8)

    def volumes(self) -> dict[str, float]:
        """mm3 by name; see `labels.volumes`."""
        counts = np.bincount(self.labels.ravel(), minlength=labels.COUNT)
        return labels.volumes(counts, SPACING**3)

    def labels_on(self, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
        """The label map on another lattice, (X, Y, Z) uint8, say that of the image measured."""
        return np.asarray(self.shares_on(shape, affine).argmax(axis=0), dtype=np.uint8)

    def shares_on(self, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
        """The structures' probabilities on another lattice, (6, X, Y, Z) float32."""
        from scipy.ndimage import affine_transform

        matrix = np.linalg.inv(self.box.affine) @ affine
        return np.stack([
            affine_transform(
                share, matrix[:3, :3], matrix[:3, 3], shape, order=1, mode="grid-constant",
                cval=float(structure == labels.BACKGROUND),
            )
            for structure, share in enumerate(self.shares)
        ])  # fmt: skip


class Look(NamedTuple):
    """A segmentation, and whence it comes: the box and its mirror image, (2, 1, X, Y, Z), and what
    the network made of the two."""

    segmentation: Segmentation
    pair: Tensor
    seen: Seen


class Segmenter:
    """A trained segmenter; `load_segmenter` gives the one that is shipped.

    Args:
        network: its network.
        document: its model.json.
    """

    def __init__(self, network: SegmenterNetwork, document: dict[str, Any]) -> None:
        if network.config.factor > MULTIPLE:
            raise LdmError(
                f"a segmenter whose sides divide by {network.config.factor}: expected at most "
                f"{MULTIPLE}"
            )
        self.network = network.eval().requires_grad_(False)
        self.document = document

    @torch.inference_mode()
    def segment(self, data: np.ndarray, affine: np.ndarray) -> Segmentation:
        """The structures of a brain-only T1w of any orientation, voxel size and shape.

        The answer is the mean over the box and its mirror image, so that it does not depend on
        which side is called left.

        Args:
            data: (X, Y, Z), any range of intensities, background the darkest.
            affine: (4, 4) voxel to world mm.

        Raises:
            LdmError: the image cannot be one of a brain cut out of its head.
        """
        return self.look(data, affine).segmentation

    @torch.inference_mode()
    def look(self, data: np.ndarray, affine: np.ndarray) -> Look:
        """The same, with what the network made of the box and of its mirror image.

        Raises:
            LdmError: as `segment` does.
        """
        box = to_box(np.asarray(data, dtype=np.float32), np.asarray(affine, dtype=np.float64))
        refuse_head(box)
        volume = torch.from_numpy(box.voxels)[None, None]
        pair = torch.cat([volume, volume.flip(2)])
        seen = self.network.see(pair)
        shares = seen.logits.float().softmax(dim=1)
        mean = (shares[0] + shares[1].flip(1)) / 2
        features = pooled(seen.levels, pair).mean(dim=0)
        segmentation = Segmentation(
            box=box, shares=mean.numpy(), features=features.numpy().astype(np.float32)
        )
        return Look(segmentation, pair, seen)

    def measure(self, data: np.ndarray, affine: np.ndarray) -> dict[str, float]:
        """Volumes in mm3 by name; see `labels.volumes`. Raises LdmError as `segment` does."""
        return self.segment(data, affine).volumes()

    def features(self, images: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """The encoder's features of images (data, affine), (N, F) float32, for FID and KID.

        Raises:
            LdmError: as `segment` does, of any of them.
        """
        return np.stack([self.segment(data, affine).features for data, affine in images])


def load_segmenter(folder: Path | None = None) -> Segmenter:
    """The segmenter in a folder; by default the one that is shipped.

    Raises:
        LdmError: none there, or a damaged one.
    """
    return _loaded(folder or shipped(SEGMENTER))


@lru_cache(maxsize=2)
def _loaded(folder: Path) -> Segmenter:
    document, files = read(folder, SEGMENTER)
    try:
        config, data = SegmenterConfig.from_json(document["network"]), files[WEIGHTS]
    except (KeyError, TypeError) as error:
        raise LdmError(f"{folder}: model.json is damaged ({error!r}); copy it again") from None
    network = build(lambda: SegmenterNetwork(config), len(data), f"{folder}: {WEIGHTS}")
    load_weights(network, data, f"{folder}: {WEIGHTS}")
    return Segmenter(network, document)


def write_segmenter(
    folder: Path, network: SegmenterNetwork, card: dict[str, Any], *, readme: str = ""
) -> None:
    """Write a tool's folder with the network's weights in half precision."""
    document = {
        "kind": SEGMENTER,
        "name": "segmenter",
        "card": card,
        "network": network.config.to_json(),
        "structures": list(labels.NAMES),
        "spacing_mm": SPACING,
    }
    files = {WEIGHTS: weight_bytes(network, torch.float16)}
    if readme:
        files["README.md"] = readme.encode()
    write(folder, document, files)


def measure_by_segmenter(image: nib.Nifti1Image) -> dict[str, float]:
    """Every volume of `labels.volumes`, in mm3, by the shipped segmenter.

    Raises:
        LdmError: the image cannot be one of a brain cut out of its head.
    """
    scan: Any = image
    return load_segmenter().measure(np.asarray(scan.dataobj, dtype=np.float32), scan.affine)
