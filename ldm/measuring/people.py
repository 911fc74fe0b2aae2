"""Age and sex from a segmented brain: ridge and logistic regression on what the segmenter saw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ldm.anatomy import labels
from ldm.errors import LdmError
from ldm.measuring.segmenter import Segmentation
from ldm.measuring.tool_folder import PEOPLE, read, shipped, write

WEIGHTS = "people.safetensors"
# Groups of predictors: shares of the head, the encoder's features, tissue maps at _NODES.
PREDICTORS = 2  # goes up when the same segmentation gives other predictors
VOLUMES, ENCODER, MAPS = "volumes", "encoder", "maps"
GROUPS = (VOLUMES, ENCODER, MAPS)
_NODES = (8, 10, 8)  # points of the maps along each axis, symmetric ones are averaged
_REACH = 2.0  # standard deviations of the brain's voxels from its middle to the last node
_SMOOTH = 2.0  # voxels
_MAPPED = (labels.CSF, labels.GREY, labels.WHITE, labels.VENTRICLE)


@dataclass(frozen=True, kw_only=True)
class Person:
    """What a brain looks like: `age` in years, and the probability (0..1) that it is a man's."""

    age: float
    male: float

    @property
    def sex(self) -> str:
        """ "M" or "F", the likelier."""
        return "M" if self.male >= 0.5 else "F"


class PeopleTool:
    """Trained regressions; `load_people` gives those that are shipped.

    Args:
        tensors: `mean` and `std` (F,) of the predictors, `age` and `sex` (F + 1,) coefficients,
            the last the constant; of the log-odds of being male.
        document: the tool's model.json, which names the groups of predictors.
    """

    def __init__(self, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> None:
        self.tensors = tensors
        self.document = document
        self.groups: dict[str, tuple[str, ...]] = {
            name: tuple(document["groups"][name]) for name in ("age", "sex")
        }

    def judge(self, segmentation: Segmentation) -> Person:
        """Age and sex of a segmented brain."""
        found = predictors(segmentation)
        odds = self._linear("sex", found)
        return Person(age=self._linear("age", found), male=float(1 / (1 + np.exp(-odds))))

    def _linear(self, what: str, found: dict[str, np.ndarray]) -> float:
        values = np.concatenate([found[group] for group in self.groups[what]])
        weights = self.tensors[what]
        scaled = (values - self.tensors[f"{what}_mean"]) / self.tensors[f"{what}_std"]
        return float(scaled @ weights[:-1] + weights[-1])


def predictors(segmentation: Segmentation) -> dict[str, np.ndarray]:
    """The predictors of one brain by group, each float64."""
    volume = segmentation.volumes()
    head = volume["intracranial_volume"]
    shares = [volume[f"{name}_volume"] / head for name in ("grey", "white", "csf", "brain_stem")]
    ventricles = np.log(max(volume["ventricular_volume"], 1000.0) / head)
    return {
        VOLUMES: np.array([*shares, ventricles, np.log(head)]),
        ENCODER: segmentation.features.astype(np.float64),
        MAPS: tissue_maps(segmentation),
    }


def tissue_maps(segmentation: Segmentation) -> np.ndarray:
    """Smoothed tissue probabilities at nodes that move and stretch with the brain, left and right
    averaged, flat float64."""
    from scipy import ndimage

    shares = segmentation.shares
    inside = shares[0] < 0.5
    where = np.argwhere(inside)
    middle, spread = where.mean(axis=0), where.std(axis=0)
    axes = [
        m + s * np.linspace(-_REACH, _REACH, count)
        for m, s, count in zip(middle, spread, _NODES, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    found = []
    for structure in _MAPPED:
        smooth = ndimage.gaussian_filter(shares[structure], _SMOOTH, truncate=2.5)
        values = ndimage.map_coordinates(smooth, points, order=1, mode="constant")
        both = (values + values[::-1]) / 2
        found.append(both[: _NODES[0] // 2].ravel())
    return np.concatenate(found).astype(np.float64)


def load_people(folder: Path | None = None) -> PeopleTool:
    """The tool in a folder; by default the one that is shipped.

    Raises:
        LdmError: none there, or a damaged one.
    """
    return _loaded(folder or shipped(PEOPLE))


@lru_cache(maxsize=2)
def _loaded(folder: Path) -> PeopleTool:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    document, files = read(folder, PEOPLE)
    try:
        tensors = {k: v.astype(np.float64) for k, v in load(files[WEIGHTS]).items()}
        return PeopleTool(tensors, document)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise LdmError(f"{folder}: not a whole tool ({error!r}); copy it again") from None


def write_people(
    folder: Path, tensors: dict[str, np.ndarray], document: dict[str, Any], *, readme: str = ""
) -> None:
    """Write the tool's folder."""
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(v, dtype=np.float32) for name, v in tensors.items()}
    files = {WEIGHTS: save(plain)}
    if readme:
        files["README.md"] = readme.encode()
    write(folder, {"kind": PEOPLE, "name": PEOPLE, **document}, files)
