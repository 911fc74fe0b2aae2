"""Training a refiner on what the denoiser leaves: what it sees, what it learns, what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ldm.diffusion.samplers import points
from ldm.diffusion.schedule import Schedule
from ldm.networks.refiner import Refiner, noise_shape, to_cells
from ldm.training.decoder import (
    FIGURES,
    LEVELS,
    Blurred,
    DecoderTask,
    DecoderValidation,
    Denoised,
    brain,
    fit_bands,
    fixed,
    new_refiner,
    refined,
    unlikeness,
    velocity_loss,
)
from ldm.training.loop import TrainingState, train
from ldm.volumes.conversion import read_volume
from tests.ldm.tiny_model import LATENT_SHAPE, PRESET, networks, volume_paths

CONFIG = replace(PRESET.train_decoder, steps=2, batch_size=2)
SCHEDULE = replace(PRESET.schedule, truncation=250)
CPU = torch.device("cpu")
CONDITIONS = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def denoised() -> Denoised:
    autoencoder, denoiser = networks()
    denoiser.config = replace(denoiser.config, null_condition=-4.0)
    channels = LATENT_SHAPE[0]
    return Denoised(autoencoder, denoiser, SCHEDULE, [0.5] * channels, [2.0] * channels)


@pytest.fixture
def drawn(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"drawn-{number}.npy" for number in range(2)]
    for number, path in enumerate(paths):
        np.save(path, np.full(LATENT_SHAPE, number, dtype=np.float32))
    return paths


def refiner() -> Refiner:
    torch.manual_seed(1)
    channels = LATENT_SHAPE[0]
    return new_refiner(PRESET.refiner, networks()[0], [0.5] * channels, [2.0] * channels)


def task(tmp_path: Path, denoised: Denoised) -> DecoderTask:
    return DecoderTask(volume_paths(tmp_path)[:3], CONDITIONS, denoised, CONFIG, guidance=2.0)


def samples(one: DecoderTask) -> dict[str, Tensor]:
    return one.load(np.array([0, 2]), 0, range(2))


def test_noise_lies_mostly_later_than_truncation_and_guidance_up_to_the_model_s(
    tmp_path: Path, denoised: Denoised
) -> None:
    one = task(tmp_path, denoised)
    seen = [one.load(np.array([0, 2]), step, range(2)) for step in range(40)]
    times = torch.cat([found["time"] for found in seen])
    guidance = torch.cat([found["guidance"] for found in seen])
    low, high = (round(250 * share) for share in LEVELS)
    assert low <= times.min() < 240 < 400 < times.max() <= high
    assert 1 <= guidance.min() < 1.3 < 1.7 < guidance.max() <= 2
    own = torch.cat([found["rest_time"] for found in seen])
    assert 0 < own.min() < 0.3 < 0.8 < own.max() < 1
    np.testing.assert_array_equal(seen[0]["conditions"], CONDITIONS[[0, 2]])


def test_the_same_step_draws_the_same_samples(tmp_path: Path, denoised: Denoised) -> None:
    one, other = (samples(task(tmp_path, denoised)) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_perfect_denoiser_leaves_the_latent_as_it_was(tmp_path: Path, denoised: Denoised) -> None:
    given = samples(task(tmp_path, denoised))
    autoencoder = denoised._autoencoder.network
    latent = autoencoder.encode(given["volume"])[0]
    signal, sigma = (torch.from_numpy(v).float()[given["time"]] for v in SCHEDULE.levels())
    standard = (latent - 0.5) / 2.0
    wanted = [a.view(-1, 1, 1, 1, 1) for a in (signal, sigma)]
    velocity = wanted[0] * given["noise"] - wanted[1] * standard
    denoised._denoiser.network.forward = lambda *_: velocity  # type: ignore[method-assign]
    torch.testing.assert_close(denoised(given), latent, atol=1e-5, rtol=1e-4)
    found = denoised.blurred(given)
    torch.testing.assert_close(found.volume, autoencoder.decode(latent), atol=1e-4, rtol=1e-3)


def test_it_learns_and_nothing_else_moves(tmp_path: Path, denoised: Denoised) -> None:
    frozen = [denoised._autoencoder.network, denoised._denoiser.network]
    before = [{k: v.clone() for k, v in one.state_dict().items()} for one in frozen]
    one = task(tmp_path, denoised)
    made = refiner()
    fit_bands(made, one.paths, one.conditions, denoised, CPU)
    state = TrainingState(made, replace(CONFIG, steps=60, learning_rate=3e-3), CPU, None)
    losses = [step.losses["velocity"] for step in train(state, one)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    for network, kept in zip(frozen, before, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in network.state_dict().items())


def test_the_loss_is_that_of_the_velocity_less_outside_of_the_brain() -> None:
    made, volume = refiner(), torch.zeros(1, 1, 16, 24, 16)
    volume[..., 4:12, 6:18, 4:12] = 0.8
    blurred = Blurred(0.9 * volume, torch.randn(1, *LATENT_SHAPE))
    drawn = torch.randn(1, *noise_shape((16, 24, 16)))
    rest = to_cells(volume - blurred.volume)
    time = torch.tensor([0.4])

    def loss(said: Tensor) -> float:
        return float(velocity_loss(lambda *_: said, made, volume, blurred, time, drawn))  # type: ignore[arg-type]

    truth = drawn - rest
    assert loss(truth) == 0
    inside = brain(to_cells(blurred.volume))
    assert 0.05 < float(inside.mean()) < 0.6
    share = float(inside.mean() / (0.1 + 0.9 * inside.mean()))
    assert loss(truth + 1) == pytest.approx(1)
    assert loss(truth + inside) == pytest.approx(share)


def test_bands_are_seen_alike(tmp_path: Path, denoised: Denoised) -> None:
    made, one = refiner(), task(tmp_path, denoised)
    fit_bands(made, one.paths, one.conditions, denoised, CPU)
    _, blurred = fixed(read_volume(one.paths[0]), CONDITIONS[0], denoised, 0, CPU)
    cells = to_cells(blurred.volume) / made.blurred_std
    inside = brain(to_cells(blurred.volume))
    power = (cells.pow(2) * inside).sum() / (8 * inside.sum())
    assert float(power) == pytest.approx(1, abs=0.5)
    fresh = refiner()
    fit_bands(fresh, one.paths, one.conditions, denoised, CPU)
    torch.testing.assert_close(fresh.rest_std, made.rest_std)


def test_what_is_refined_is_a_function_of_its_key(tmp_path: Path, denoised: Denoised) -> None:
    made = refiner()
    latent = torch.randn(1, *LATENT_SHAPE, generator=torch.Generator().manual_seed(0))
    one, again, other = (refined(made, denoised.decoded(latent), 2, key) for key in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert 0 <= float(one.min()) <= float(one.max()) <= 1


def test_validation_tells_the_same_figures_on_every_worker(
    tmp_path: Path, drawn: list[Path], denoised: Denoised
) -> None:
    paths = volume_paths(tmp_path)[:2]
    validation = DecoderValidation(paths, CONDITIONS[:2], drawn, denoised, steps=2)
    made = refiner()
    alone = validation(made, 0, 1, CPU)
    shares = [validation(made, rank, 3, CPU) for rank in range(3)]
    assert list(alone) == [*FIGURES, "count"]
    assert [share["count"] for share in shares] == [1, 1, 0]
    for name in alone:
        assert list(shares[2]) == list(alone)
        assert sum(share[name] for share in shares) == pytest.approx(alone[name], rel=1e-5)
    assert unlikeness({name: value / 2 for name, value in alone.items()}) > 0


@pytest.mark.parametrize("sampler", ["ddim", "unipc", "dpm++2m"])
@pytest.mark.parametrize("steps", [2, 3, 7])
def test_a_truncated_path_ends_at_its_step_and_takes_the_image_there(
    sampler: str, steps: int
) -> None:
    from ldm.diffusion.config import Sampling

    path = points(SCHEDULE, Sampling(sampler=sampler, steps=steps))
    times = [point.time for point in path]
    assert len(times) == steps + 1
    assert times[-2:] == [250, -1]
    assert times == sorted(times, reverse=True)


def test_a_schedule_that_is_not_truncated_says_nothing_of_it() -> None:
    assert "truncation" not in Schedule().to_json()
    assert Schedule.from_json(SCHEDULE.to_json()) == SCHEDULE
