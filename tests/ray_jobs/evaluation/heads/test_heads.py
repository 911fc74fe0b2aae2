"""Whole heads to evaluate: told at the start, stripped in every source alike, or refused."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm.errors import LdmError
from ray_jobs.errors import JobError
from ray_jobs.evaluation.heads.stripped import Stripped
from ray_jobs.evaluation.heads.told import are_heads
from ray_jobs.evaluation.measuring.instruments import Instruments
from ray_jobs.evaluation.measuring.networks import NetworkFeatures, Weights
from ray_jobs.evaluation.measuring.pairs import PairMeter
from ray_jobs.evaluation.measuring.tables import read_parts
from ray_jobs.evaluation.sources import REAL
from tests.ldm import scalps

AFFINE = scalps.brain()[1]


@dataclass
class Volumes:
    """A source of the volumes that it is given."""

    label: str
    volumes: list[np.ndarray]
    identity: str = "x"
    items: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.items = [
            {"name": f"sub-{place}", "place": place, "group": "", "asked": {}}
            for place in range(len(self.volumes))
        ]

    def read(self, item: dict[str, Any]) -> np.ndarray:
        return self.volumes[item["place"]]


def heads(label: str = "release", count: int = 2) -> Volumes:
    return Volumes(label, [(scalps.head()[0] / 1000).astype(np.float32)] * count)


def brains(label: str = "release", count: int = 2) -> Volumes:
    return Volumes(label, [(scalps.brain()[0] / 1000).astype(np.float32)] * count)


@pytest.fixture
def deepbet(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A stripper that answers at once, that finds nothing in what is black, and counts."""
    asked: list[int] = []

    def mask(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
        asked.append(1)
        if not volume.any():
            raise LdmError("skull-stripping failed: deepbet finds no brain")
        return scalps.brain()[0] > 0

    monkeypatch.setattr("ray_jobs.evaluation.heads.stripped.brain_mask", mask)
    return asked


def test_heads_of_all_sources_are_stripped_and_brains_of_all_are_not() -> None:
    assert are_heads({REAL: heads(REAL), "ldm": heads()}, AFFINE)
    assert not are_heads({REAL: brains(REAL), "ldm": brains()}, AFFINE)


def test_one_odd_volume_does_not_decide() -> None:
    odd = Volumes("ldm", [*brains(count=4).volumes, heads().volumes[0], np.zeros((8, 8, 8))])
    assert not are_heads({REAL: brains(REAL), "ldm": odd}, AFFINE)


@pytest.mark.parametrize(
    ("real", "made", "told"),
    [
        (heads(REAL), brains(), "the real cohort shows whole heads.*and ldm brains"),
        (brains(REAL), heads(), "ldm shows whole heads.*and the real cohort brains"),
    ],
)
def test_heads_against_brains_are_refused_in_a_line(
    real: Volumes, made: Volumes, told: str
) -> None:
    with pytest.raises(JobError, match=told) as refusal:
        are_heads({REAL: real, "ldm": made}, AFFINE)
    assert "\n" not in str(refusal.value)


def test_heads_without_a_stripper_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JobError, match=r"whole heads.*pip install '\.\[strip\]'"):
        are_heads({REAL: heads(REAL), "ldm": heads()}, AFFINE)


def test_each_volume_is_stripped_once_whoever_reads_it(tmp_path: Path, deepbet: list[int]) -> None:
    found = Stripped(source=heads(), affine=AFFINE, folder=str(tmp_path))
    first = found.read(found.items[1])
    assert np.array_equal(first > 0, (scalps.brain()[0] > 0) & (heads().volumes[1] > 0))
    another = pickle.loads(pickle.dumps(found))
    assert np.array_equal(another.read(another.items[1]), first)
    assert len(deepbet) == 1
    (tmp_path / "0000001.mask").write_bytes(b"cut short")
    assert np.array_equal(found.read(found.items[1]), first)
    assert len(deepbet) == 2


def test_a_volume_without_a_brain_is_refused_and_sought_in_once(
    tmp_path: Path, deepbet: list[int]
) -> None:
    black = Volumes("ldm", [np.zeros(scalps.brain()[0].shape, np.float32)])
    found = Stripped(source=black, affine=AFFINE, folder=str(tmp_path))
    for _ in range(2):
        with pytest.raises(LdmError, match="no brain is found in it"):
            found.read(found.items[0])
    assert len(deepbet) == 1


def test_what_cannot_be_stripped_counts_in_no_pair(tmp_path: Path, deepbet: list[int]) -> None:
    volumes = [*heads(count=2).volumes, np.zeros(scalps.brain()[0].shape, np.float32)]
    found = Stripped(source=Volumes("ldm", volumes), affine=AFFINE, folder=str(tmp_path / "m"))
    meter = PairMeter({"ldm-pairs": found}, {"ldm-pairs": [(0, 1), (0, 2)]}, str(tmp_path))
    meter({"source": "ldm-pairs", "number": 0, "start": 0, "stop": 2})
    pairs = read_parts(tmp_path, "ldm-pairs", 2)
    assert list(pairs["ms_ssim"].isna()) == [False, True]
    assert len(pairs.dropna()) == 1


def test_a_head_among_brains_is_refused_and_not_measured(tmp_path: Path) -> None:
    from ldm.volumes.grid import Grid

    volume = heads().volumes[0]
    middle = AFFINE[:3, 3] + (np.array(volume.shape) - 1) * scalps.SPACING / 2
    grid = Grid(shape=volume.shape, spacing=scalps.SPACING, centre=tuple(middle))
    meter = Instruments({"ldm": heads(count=1)}, grid, str(tmp_path))
    done = meter({"source": "ldm", "number": 0, "start": 0, "stop": 1})
    row = read_parts(tmp_path, "ldm", 1).iloc[0]
    assert done["refused"] == 1
    assert "whole head" in row["error"] or "litres" in row["error"]
    assert row["measured_brain_volume"] is None


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [1, 1, 1, 1, 1]), ("cuda", [4, 1])])
def test_the_papers_features_are_of_a_gpu_and_of_several_volumes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, sizes: list[int]
) -> None:
    """The network stands in; that device and batch reach it is what is told."""
    seen: list[Any] = []

    class Network:
        def __init__(self, path: Path, where: str) -> None:
            seen.append((path.name, where))

        def features(self, volumes: np.ndarray) -> np.ndarray:
            seen.append(len(volumes))
            return volumes.reshape(len(volumes), -1)[:, :3]

    monkeypatch.setattr("ldm.evaluation.features.MedicalNet", Network)
    source = Volumes("ldm", [np.full((2, 2, 2), place, np.float32) for place in range(5)])
    weights = Weights(network="medicalnet", path="/weights.pth", sha256="")
    meter = NetworkFeatures({"ldm": source}, str(tmp_path), weights, device)
    meter({"source": "ldm-medicalnet", "of": "ldm", "number": 0, "start": 0, "stop": 5})
    rows = read_parts(tmp_path, "ldm-medicalnet", 5)
    assert seen == [("weights.pth", device), *sizes]
    assert [np.frombuffer(data, "<f4")[0] for data in rows["medicalnet"]] == [0, 1, 2, 3, 4]
