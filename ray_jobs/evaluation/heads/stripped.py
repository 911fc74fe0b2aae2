"""A source of whole heads as one of brains: each is skull-stripped once, and its mask is kept."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ldm.anatomy.skull import brain_mask
from ldm.errors import LdmError
from ray_jobs.evaluation.sources import Source
from ray_jobs.files import write_bytes

NONE_FOUND = "skull-stripping failed: no brain is found in it"


@dataclass(kw_only=True)
class Stripped:
    """Another source's volumes without their skulls.

    Attributes:
        source: of whole heads.
        affine: (4, 4) of every volume, voxel to world mm.
        folder: for the masks, a file a volume; one that is there is not sought again.
        label, items, identity: the other source's.
    """

    source: Source
    affine: np.ndarray
    folder: str

    label: str = field(init=False)
    items: list[dict[str, Any]] = field(init=False)
    identity: str = field(init=False)

    def __post_init__(self) -> None:
        self.label, self.items = self.source.label, self.source.items
        self.identity = self.source.identity

    def read(self, item: dict[str, Any]) -> np.ndarray:
        """The brain of an item's volume, (X, Y, Z) float32 in [0, 1], 0 around it.

        Raises:
            LdmError: no brain is found.
        """
        volume = self.source.read(item)
        path = Path(self.folder) / f"{self._places[item['name']]:07d}.mask"
        mask = _kept(path, volume.shape)
        if mask is None:
            mask = _sought(volume, self.affine)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, zlib.compress(np.packbits(mask).tobytes()))
        if not mask.any():
            raise LdmError(NONE_FOUND)
        return np.where(mask, volume, np.float32(0))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item["name"]: place for place, item in enumerate(self.items)}


def unstripped(source: Source, item: dict[str, Any]) -> np.ndarray:
    """An item's volume as it was made, (X, Y, Z) float32: as a model's own encoder knows it."""
    return source.source.read(item) if isinstance(source, Stripped) else source.read(item)


def brain_of(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The brain of one head, (X, Y, Z) float32. Raises LdmError where none is found."""
    return np.where(brain_mask(volume, affine), volume, np.float32(0))


def _sought(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The mask, (X, Y, Z) bool; nothing of a volume in which there is no brain."""
    try:
        return brain_mask(volume, affine)
    except LdmError:
        return np.zeros(volume.shape, dtype=bool)


def _kept(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask that was kept; None where there is none, or a damaged one."""
    count = int(np.prod(shape))
    try:
        bits = np.frombuffer(zlib.decompress(path.read_bytes()), np.uint8)
    except (FileNotFoundError, zlib.error):
        return None
    if len(bits) != (count + 7) // 8:
        return None
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)
