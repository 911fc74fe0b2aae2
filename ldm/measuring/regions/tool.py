"""The region tool: a brain-only T1w to a label map of its regions, and their volumes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ldm.anatomy import labels, regions
from ldm.errors import LdmError
from ldm.measuring.box import SPACING
from ldm.measuring.regions.network import (
    KINDS,
    RegionConfig,
    RegionNetwork,
    in_cells,
    network_for,
    spread,
    within,
)
from ldm.measuring.segmenter import WEIGHTS as SEGMENTER_WEIGHTS
from ldm.measuring.segmenter import Segmentation, Segmenter, load_segmenter
from ldm.measuring.tool_folder import REGIONS, read, shipped, write
from ldm.networks.weights import build, load_weights, weight_bytes

WEIGHTS = "regions.safetensors"
ANSWERS = 2  # goes up when the same weights give other maps
_SLAB = 2**20  # voxels of another lattice that are computed at once


@dataclass(frozen=True, kw_only=True)
class RegionMap:
    """What the region tool says of one image.

    Attributes:
        segmentation: the structures, which its regions divide.
        logits: (X, Y, Z, 33) float32 in the segmenter's box, of `ldm.anatomy.regions.KINDS`, of
            which those of one structure compete; the last of lying on the right.
    """

    segmentation: Segmentation
    logits: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """(X, Y, Z) uint8 in the box: numbers of `ldm.anatomy.regions.REGIONS`, 0 background."""
        shares = torch.from_numpy(self.segmentation.shares).movedim(0, -1)
        return _numbers(shares, torch.from_numpy(self.logits)).numpy()

    def volumes(self) -> dict[str, float]:
        """mm3 by `Region.key`; those of a structure add up to the segmenter's volume of it."""
        return regions.volumes(self.labels, SPACING**3)

    def labels_on(self, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
        """The label map on another lattice, (X, Y, Z) uint8, say that of the image measured."""
        both = (self.segmentation.shares, np.moveaxis(self.logits, -1, 0))
        maps = [torch.from_numpy(np.ascontiguousarray(one))[None] for one in both]
        matrix = np.linalg.inv(self.segmentation.box.affine) @ affine
        thick = max(1, _SLAB // (shape[1] * shape[2]))
        slabs = []
        for first in range(0, shape[0], thick):
            points = _points(range(first, min(first + thick, shape[0])), shape, matrix)
            shares, logits = (_read(one, points)[0].movedim(0, -1) for one in maps)
            shares[..., labels.BACKGROUND] += 1 - shares.sum(dim=-1)  # what is beyond the box
            slabs.append(_numbers(shares, logits))
        return torch.cat(slabs).numpy()


class RegionTool:
    """A trained region tool; `load_region_tool` gives the one that is shipped.

    Args:
        segmenter: whose structures it divides.
        network: trained on what that one sees.
        document: its model.json.
        fingerprint: SHA-256 of both tools' weights and of `ANSWERS`, in hex: equal where maps are.
    """

    name = "brainpress's region tool"

    def __init__(
        self,
        segmenter: Segmenter,
        network: RegionNetwork,
        document: dict[str, Any],
        fingerprint: str,
    ) -> None:
        self.segmenter = segmenter
        self.network = network.eval().requires_grad_(False)
        self.document, self.fingerprint = document, fingerprint

    @torch.inference_mode()
    def segment(self, data: np.ndarray, affine: np.ndarray) -> RegionMap:
        """The regions of a brain-only T1w of any orientation, voxel size and shape.

        As the segmenter's, the answer is the mean over the box and its mirror image.

        Args:
            data: (X, Y, Z), any range of intensities, background the darkest.
            affine: (4, 4) voxel to world mm.

        Raises:
            LdmError: the image cannot be one of a brain cut out of its head.
        """
        look = self.segmenter.look(data, affine)
        patch = self.network.patch
        brain = torch.from_numpy(look.segmentation.shares[labels.BACKGROUND] < 0.5)
        cells = in_cells(brain[None], patch).any(dim=-1)[0]
        wanted = torch.stack([cells, cells.flip(0)])
        here, mirrored = spread(self.network(look.pair, look.seen, wanted).float(), wanted, patch)
        mirrored[..., KINDS] *= -1  # what is on the right lies on the left there
        mean = (here + mirrored.flip(0)) / 2
        return RegionMap(segmentation=look.segmentation, logits=mean.numpy())


def load_region_tool(folder: Path | None = None) -> RegionTool:
    """The tool in a folder, with the segmenter that is shipped; by default the one that is shipped.

    Raises:
        LdmError: none there, a damaged one, or one trained on what another segmenter sees.
    """
    return _loaded(folder or shipped(REGIONS))


@lru_cache(maxsize=2)
def _loaded(folder: Path) -> RegionTool:
    document, files = read(folder, REGIONS)
    segmenter = load_segmenter()
    seen = segmenter_digest()
    try:
        config, data = RegionConfig.from_json(document["network"]), files[WEIGHTS]
        wanted, named = document["segmenter"], document["regions"]
    except (KeyError, TypeError) as error:
        raise LdmError(f"{folder}: model.json is damaged ({error!r}); copy it again") from None
    if wanted != seen or named != [region.key for region in regions.REGIONS]:
        raise LdmError(
            f"{folder}: trained with another segmenter or on other regions than this brainpress "
            "has; install the brainpress that it was trained with, or train it again"
        )
    network = build(
        lambda: network_for(config, segmenter.network), len(data), f"{folder}: {WEIGHTS}"
    )
    load_weights(network, data, f"{folder}: {WEIGHTS}")
    whole = f"{ANSWERS} {seen} {hashlib.sha256(data).hexdigest()}"
    fingerprint = hashlib.sha256(whole.encode()).hexdigest()
    return RegionTool(segmenter, network, document, fingerprint)


def write_region_tool(
    folder: Path, network: RegionNetwork, card: dict[str, Any], *, readme: str = ""
) -> None:
    """Write a tool's folder with the network's weights in half precision."""
    document = {
        "kind": REGIONS,
        "name": REGIONS,
        "card": card,
        "network": network.config.to_json(),
        "segmenter": segmenter_digest(),
        "regions": [region.key for region in regions.REGIONS],
        "spacing_mm": SPACING,
    }
    files = {WEIGHTS: weight_bytes(network, torch.float16)}
    if readme:
        files["README.md"] = readme.encode()
    write(folder, document, files)


def segmenter_digest() -> str:
    """SHA-256 of the shipped segmenter's weights, in hex."""
    return str(load_segmenter().document["files"][SEGMENTER_WEIGHTS]["sha256"])


def _numbers(shares: Tensor, logits: Tensor) -> Tensor:
    """A label map (X, Y, Z) uint8 of structures' shares (X, Y, Z, 6) and logits (X, Y, Z, 33): the
    likeliest structure, and of its kinds the likeliest, on the likelier side."""
    structure = shares.argmax(dim=-1)
    numbers = torch.zeros(structure.shape, dtype=torch.uint8)
    inside = structure != labels.BACKGROUND
    here = logits[inside]
    kind = within(here, structure[inside]).argmax(dim=-1)
    numbers[inside] = torch.from_numpy(regions.NUMBERS)[kind, (here[:, KINDS] > 0).long()]
    return numbers


def _points(xs: range, shape: tuple[int, ...], matrix: np.ndarray) -> Tensor:
    """Voxels of a lattice in those of the box, (1, X, Y, Z, 3) float32."""
    axes = [torch.arange(xs.start, xs.stop), *(torch.arange(side) for side in shape[1:])]
    voxels = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).double()
    turn, shift = torch.from_numpy(matrix[:3, :3].copy()), torch.from_numpy(matrix[:3, 3].copy())
    return (voxels @ turn.T + shift).float()[None]


def _read(maps: Tensor, points: Tensor) -> Tensor:
    """Maps (1, C, X, Y, Z) at points, linearly, nothing beyond."""
    sides = torch.tensor(maps.shape[2:], dtype=torch.float32)
    grid = (2 * points / (sides - 1).clamp(min=1) - 1).flip(-1)
    return grid_sample(maps, grid, "bilinear", "zeros", align_corners=True)
