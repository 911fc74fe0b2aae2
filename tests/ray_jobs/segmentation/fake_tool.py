"""A tool that segments noise: brightness stands for regions, so that a map is told from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ldm.anatomy.regions import REGIONS, volumes
from ldm.errors import LdmError

LOADER = "tests.ray_jobs.segmentation.fake_tool:load"
OTHER_LOADER = "tests.ray_jobs.segmentation.fake_tool:load_other"
FUSSY_LOADER = "tests.ray_jobs.segmentation.fake_tool:load_fussy"
CARD = {
    "license": "CC-BY-SA-3.0",
    "attribution": "Trained on noise.",
    "description": "Tells brightness.",
}


@dataclass(frozen=True)
class FakeFound:
    numbers: np.ndarray

    def labels_on(self, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
        assert shape == self.numbers.shape
        return self.numbers

    def volumes(self) -> dict[str, float]:
        return volumes(self.numbers, 8.0)


@dataclass(frozen=True)
class FakeTool:
    """Refuses images whose first voxel is brighter than `most`."""

    name: str = "fake"
    fingerprint: str = "a" * 64
    step: int = 1
    most: float = 2.0

    @property
    def document(self) -> dict[str, Any]:
        return {"card": CARD}

    def segment(self, data: np.ndarray, affine: np.ndarray) -> FakeFound:
        if data.flat[0] > self.most:
            raise LdmError(f"it begins at {data.flat[0]:.2f}, no brain does")
        numbers = np.floor(data * len(REGIONS)).astype(np.uint8) // self.step
        return FakeFound(numbers)


def load() -> FakeTool:
    return FakeTool()


def load_other() -> FakeTool:
    return FakeTool(name="other", fingerprint="b" * 64, step=2)


def load_fussy() -> FakeTool:
    """Takes about half of the images of noise."""
    return FakeTool(name="fussy", fingerprint="c" * 64, most=0.5)


def load_blind() -> FakeTool:
    return FakeTool(most=-1.0)
