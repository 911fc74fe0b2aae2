"""The autoencoder's task: its samples, its loss, its figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ldm import noise
from ldm.networks import Autoencoder
from ldm.training import autoencoder as task_module
from ldm.training.autoencoder import KURTOSIS, POWER, augment, fidelity, texture, validate
from ldm.training.presets import preset
from ldm.volumes.conversion import read_volume
from tests.ldm.tiny_model import (
    LATENT_SHAPE,
    PRESET,
    autoencoder_task,
    networks,
    volume_paths,
)

CONFIG = PRESET.train_autoencoder


def test_the_kl_divergence_is_that_of_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(3, 2, 4, 4, 4, generator=generator)
    std = torch.rand(3, 2, 4, 4, 4, generator=generator) + 0.1
    wanted = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum() / 3
    torch.testing.assert_close(task_module.kl_divergence(mean, std), wanted)
    assert task_module.kl_divergence(torch.zeros(2, 1), torch.ones(2, 1)) == 0


@pytest.mark.parametrize(("name", "weight"), [("tiny", 1e-5), ("demo", 1e-6), ("paper", 3.36e-4)])
def test_the_kl_weight_of_a_preset_comes_to_so_much_a_latent_value(
    name: str, weight: float
) -> None:
    """The demo's and the tiny one's as they were trained; the paper's source has 1e-8 as a sum."""
    chosen = preset(name)
    values = chosen.autoencoder.latent_channels * np.prod(
        [side // chosen.autoencoder.factor for side in chosen.grid.shape]
    )
    assert chosen.train_autoencoder.kl_weight * values == pytest.approx(weight)


def test_the_loss_is_l1_and_weighted_kl(tmp_path: Path) -> None:
    task = autoencoder_task(tmp_path, replace(CONFIG, kl_weight=0.25))
    samples = task.load(np.array([0, 1]), 0, range(2))
    network, _ = networks()
    loss, parts = task.loss(network, samples)
    reconstruction, mean, std = network(samples["volume"], samples["noise"])
    l1 = (reconstruction - samples["volume"]).abs().mean()
    torch.testing.assert_close(parts["l1"], l1)
    torch.testing.assert_close(loss, l1 + 0.25 * task_module.kl_divergence(mean, std))


def test_samples_are_a_function_of_seed_step_and_position(tmp_path: Path) -> None:
    task = autoencoder_task(tmp_path, CONFIG)
    whole = task.load(np.array([3, 1, 3, 0]), 7, range(4))
    part = task.load(np.array([1, 0]), 7, range(1, 4, 2))
    for name, tensor in whole.items():
        torch.testing.assert_close(part[name], tensor[1::2], rtol=0, atol=0)
    assert whole["volume"].shape == (4, 1, *PRESET.grid.shape)
    assert whole["noise"].shape == (4, *LATENT_SHAPE)
    other = task.load(np.array([3, 1, 3, 0]), 8, range(4))
    assert not torch.equal(other["noise"], whole["noise"])


def test_augmenting_flips_left_and_right_and_shifts_by_whole_voxels() -> None:
    volume = np.zeros((9, 10, 11), dtype=np.float32)
    volume[3:5, 4:6, 5:7] = np.arange(1, 9).reshape(2, 2, 2)
    corners, flips = set(), set()
    for key in range(200):
        found = augment(volume, noise.generator(key))
        assert found.flags.c_contiguous
        corner = np.array([axis.min() for axis in np.nonzero(found)])
        block = found[tuple(slice(c, c + 2) for c in corner)]
        flipped = block[0, 0, 0] != 1
        np.testing.assert_array_equal(block, volume[3:5, 4:6, 5:7][:: -1 if flipped else 1])
        assert found.sum() == volume.sum()
        shift = corner - ([4, 4, 5] if flipped else [3, 4, 5])
        corners.add(tuple(shift))
        flips.add(bool(flipped))
    shifts = np.array(sorted(corners))
    assert flips == {True, False}
    assert (shifts.min(0).tolist(), shifts.max(0).tolist()) == ([-2] * 3, [2] * 3)


def test_what_shifts_in_is_empty() -> None:
    found = augment(np.ones((6, 6, 6), dtype=np.float32), noise.generator(3))
    assert set(np.unique(found)) == {0.0, 1.0}
    assert found.sum() in {
        (6 - a) * (6 - b) * (6 - c) for a in range(3) for b in range(3) for c in range(3)
    }


def test_a_volume_equal_to_itself_has_the_best_figures_and_noise_lowers_them() -> None:
    volume = torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    same = fidelity(volume, volume)
    assert same["l1"] == 0
    assert same["psnr"] == pytest.approx(120)
    assert same["ssim"] == pytest.approx(1)
    brighter = fidelity(volume * 0.5 + 0.1, volume * 0.5)
    assert (brighter["l1"], brighter["psnr"]) == (pytest.approx(0.1), pytest.approx(20, abs=1e-3))
    assert fidelity(torch.rand_like(volume), volume)["ssim"] < 0.2 < brighter["ssim"] < 1


def test_figures_are_in_float32_also_where_validation_runs_in_bf16() -> None:
    volume = torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    found = (0.98 * volume + 0.005).clamp(0, 1)
    wanted = fidelity(found, volume)
    with torch.autocast("cpu", torch.bfloat16):
        assert fidelity(found, volume) == wanted


def test_validation_sums_so_that_shares_add_up(tmp_path: Path) -> None:
    network: Autoencoder = networks()[0].eval()
    paths = volume_paths(tmp_path)
    whole, *shares = (
        validate(network, some, torch.device("cpu")) for some in (paths, paths[::2], paths[1::2])
    )
    assert whole["count"] == len(paths)
    for name, value in whole.items():
        assert sum(share[name] for share in shares) == pytest.approx(value)
    volume = torch.from_numpy(read_volume(paths[0]))[None, None]
    with torch.no_grad():
        found = network.decode(network.encode(volume)[0]).clamp(0, 1)
    alone = validate(network, paths[:1], torch.device("cpu"))
    assert alone["l1"] == pytest.approx(float((found - volume).abs().mean()), rel=1e-4)


def test_a_reconstruction_is_told_from_its_volume_by_band(tmp_path: Path) -> None:
    network: Autoencoder = networks()[0].eval()
    found = validate(network, volume_paths(tmp_path)[:2], torch.device("cpu"))
    assert {*POWER, *KURTOSIS} < set(found)
    assert np.isfinite(list(found.values())).all()
    generator = torch.Generator().manual_seed(0)
    volume = torch.nn.functional.pad(0.3 + 0.4 * torch.rand(1, 1, 24, 28, 24, generator=generator),
                                     (6,) * 6)  # fmt: skip
    same = texture(volume, volume)
    assert [same[name] for name in POWER] == pytest.approx([1] * len(POWER))
    assert [same[name] for name in KURTOSIS] == pytest.approx([0] * len(KURTOSIS))
    fainter = texture(0.5 * volume, volume)
    assert [fainter[name] for name in POWER] == pytest.approx([1] * len(POWER), rel=1e-3)
    blurred = torch.nn.functional.avg_pool3d(volume, 3, stride=1, padding=1)
    power = [texture(blurred, volume)[name] for name in POWER]
    assert power == sorted(power, reverse=True)
    assert power[-1] < 0.05 < 0.5 < power[0] < 1
    dark = texture(torch.zeros_like(volume), volume)
    assert np.isfinite(list(dark.values())).all()
    assert max(dark[name] for name in POWER) < 1e-6
