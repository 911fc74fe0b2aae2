"""The feature network: what it is trained on, what it learns, how it is kept."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ldm import noise
from ldm.errors import LdmError
from ldm.training import features
from ldm.training.distance import FeatureDistance
from ldm.training.features import FeatureConfig, FeatureNetwork, FeatureTask, piece, spoil
from ldm.training.loop import TrainingState, train
from ldm.training.perceptual import open_distance, source_digest, write_features
from ldm.volumes.resampling import blurred
from tests.ldm.tiny_model import PRESET, volume_paths

CONFIG = replace(PRESET.train_features, steps=60, warmup_steps=5, learning_rate=1e-2, ema_decay=0.9)


def trained(folder: Path) -> FeatureNetwork:
    torch.manual_seed(0)
    task = FeatureTask(volume_paths(folder), PRESET.features, CONFIG)
    state = TrainingState(FeatureNetwork(PRESET.features), CONFIG, torch.device("cpu"))
    for _ in train(state, task):
        pass
    assert isinstance(state.average, FeatureNetwork)
    return state.average


def test_it_learns_to_restore_and_its_distance_tells_blur(tmp_path: Path) -> None:
    network, paths = trained(tmp_path), volume_paths(tmp_path)
    found = features.validate(network, paths, 0, torch.device("cpu"))
    assert found["count"] == len(paths)
    assert found["l1"] < 0.95 * found["l1_spoilt"]
    volume = np.load(paths[0]).astype(np.float32) / 4095
    soft = [blurred(volume, sigma, mode="nearest") for sigma in (0, 0.4, 0.8, 1.6)]
    whole = [torch.from_numpy(v)[None, None] for v in soft]
    distance = FeatureDistance(network.features)
    with torch.no_grad():
        distances = [float(distance(v, whole[0])) for v in whole]
    assert distances[0] == 0
    assert all(a < b for a, b in itertools.pairwise(distances))


def test_samples_are_a_function_of_seed_step_and_position(tmp_path: Path) -> None:
    task = FeatureTask(volume_paths(tmp_path), PRESET.features, CONFIG)
    whole = task.load(np.array([3, 1, 3, 0]), 7, range(4))
    part = task.load(np.array([1, 0]), 7, range(1, 4, 2))
    for name, tensor in whole.items():
        assert tensor.shape == (4, 1, 8, 8, 8)
        torch.testing.assert_close(part[name], tensor[1::2], rtol=0, atol=0)


def test_a_piece_lies_in_the_volume_round_the_head() -> None:
    levels = np.zeros((20, 24, 20), dtype=np.uint16)
    levels[4:9, 12:17, 8:13] = 4095
    for key in range(50):
        found = piece(levels, 8, noise.generator(key))
        assert found.shape == (8, 8, 8)
        assert found.max() == 1
    assert piece(levels[:6], 8, noise.generator(0)).shape == (8, 8, 8)
    assert piece(np.zeros_like(levels), 8, noise.generator(0)).max() == 0


def test_spoiling_is_at_most_as_much_as_it_says() -> None:
    flat = np.full((16, 16, 16), 0.5, np.float32)
    deviations = [float(np.std(spoil(flat, noise.generator(key)))) for key in range(40)]
    assert 0.08 < max(deviations) < 1.1 * features.LARGEST_NOISE
    assert min(deviations) < 0.02


def test_features_come_back_from_their_folder_and_damage_is_told(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = FeatureNetwork(PRESET.features)
    write_features(tmp_path, network, {"steps": 1})
    one, other = torch.rand(2, 1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = FeatureDistance(network.features)(one, other)
    torch.testing.assert_close(open_distance(str(tmp_path))(one, other, torch.zeros(1)), wanted)
    digest = source_digest(str(tmp_path))
    weights = tmp_path / "features.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"gone")
    assert source_digest(str(tmp_path)) != digest
    with pytest.raises(LdmError, match=r"features\.safetensors is damaged"):
        open_distance(str(tmp_path))


@pytest.mark.parametrize(
    ("channels", "side", "words"),
    [((), 8, "feature channels"), ((4, 0), 8, "feature channels"), ((4, 8), 9, "a multiple of 2")],
)
def test_an_impossible_feature_network_is_refused(
    channels: tuple[int, ...], side: int, words: str
) -> None:
    with pytest.raises(LdmError, match=words):
        FeatureConfig(channels=channels, piece=side)
