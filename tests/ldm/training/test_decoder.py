"""Training a decoder on what the denoiser leaves: what it sees, what moves, what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ldm.diffusion.samplers import points
from ldm.diffusion.schedule import Schedule
from ldm.training import adversarial
from ldm.training.adversarial import PatchCritic
from ldm.training.decoder import (
    FIGURES,
    SPREAD,
    Decoder,
    DecoderTask,
    DecoderValidation,
    Denoised,
    lattice_excess,
    lattice_loss,
    with_refiner,
)
from ldm.training.loop import TrainingState, train
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


def critic() -> PatchCritic:
    torch.manual_seed(1)
    return PatchCritic(PRESET.critic)


def task(tmp_path: Path, drawn: list[Path], denoised: Denoised, **changed: float) -> DecoderTask:
    paths = volume_paths(tmp_path)[:3]
    config = replace(CONFIG, **changed)  # type: ignore[arg-type]
    return DecoderTask(paths, CONDITIONS, drawn, denoised, config, critic(), guidance=2.0)


def samples(one: DecoderTask) -> dict[str, Tensor]:
    return one.load(np.array([0, 2]), 0, range(2))


def test_noise_lies_around_the_step_of_truncation_and_guidance_up_to_the_model_s(
    tmp_path: Path, drawn: list[Path], denoised: Denoised
) -> None:
    one = task(tmp_path, drawn, denoised)
    seen = [one.load(np.array([0, 2]), step, range(2)) for step in range(40)]
    times = torch.cat([found["time"] for found in seen])
    guidance = torch.cat([found["guidance"] for found in seen])
    assert 250 * (1 - SPREAD) <= times.min() < 230 < 270 < times.max() <= 250 * (1 + SPREAD)
    assert 1 <= guidance.min() < 1.3 < 1.7 < guidance.max() <= 2
    assert {float(found["drawn"][0].mean()) for found in seen} == {0.0, 1.0}
    np.testing.assert_array_equal(seen[0]["conditions"], CONDITIONS[[0, 2]])


def test_the_same_step_draws_the_same_samples(
    tmp_path: Path, drawn: list[Path], denoised: Denoised
) -> None:
    one, other = (samples(task(tmp_path, drawn, denoised)) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_perfect_denoiser_leaves_the_latent_as_it_was(
    tmp_path: Path, drawn: list[Path], denoised: Denoised
) -> None:
    given = samples(task(tmp_path, drawn, denoised))
    latent = denoised._encoder.network.encode(given["volume"])[0]
    signal, sigma = (torch.from_numpy(v).float()[given["time"]] for v in SCHEDULE.levels())
    standard = (latent - 0.5) / 2.0
    wanted = [a.view(-1, 1, 1, 1, 1) for a in (signal, sigma)]
    velocity = wanted[0] * given["noise"] - wanted[1] * standard
    denoised._denoiser.network.forward = lambda *_: velocity  # type: ignore[method-assign]
    torch.testing.assert_close(denoised(given), latent, atol=1e-5, rtol=1e-4)


def test_only_the_decoder_moves(tmp_path: Path, drawn: list[Path], denoised: Denoised) -> None:
    autoencoder, _ = networks()
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    one = task(tmp_path, drawn, denoised)
    state = TrainingState(Decoder(autoencoder), CONFIG, CPU, one.critic)
    steps = list(train(state, one))
    assert {"l1", "adversarial", "matching", "critic real"} <= steps[-1].losses.keys()
    after = state.model.put(autoencoder).state_dict()  # type: ignore[operator]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(("net.decoder.", "net.post_quant_conv.")) for name in moved)


def test_without_its_weight_nothing_is_matched(
    tmp_path: Path, drawn: list[Path], denoised: Denoised
) -> None:
    one = task(tmp_path, drawn, denoised, matching_weight=0.0)
    _, parts = one.loss(Decoder(networks()[0]), samples(one))
    assert parts.keys() == {"l1", "lattice", "drawn lattice", "adversarial"}


def test_before_its_step_no_critic_plays(
    tmp_path: Path, drawn: list[Path], denoised: Denoised
) -> None:
    one = task(tmp_path, drawn, denoised, adversarial_from=1)
    assert [one.plays(step) for step in (0, 1)] == [False, True]
    _, parts = one.loss(Decoder(networks()[0]), samples(one))
    assert parts.keys() == {"l1", "lattice", "drawn lattice"}


def test_a_faint_checkerboard_counts_much_on_the_lattices_and_noise_little() -> None:
    grid = np.indices((16, 24, 16)).sum(axis=0) % 2
    board = torch.from_numpy(0.05 * (2.0 * grid - 1))[None, None]
    noise = 0.05 * torch.randn(board.shape, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros_like(board)
    assert float(lattice_loss(board, nothing)) == pytest.approx(0.05)
    assert float(lattice_loss(noise.double(), nothing)) < 0.01


def test_a_drawn_volume_s_lattices_may_differ_as_people_s_do_and_no_more() -> None:
    rng = torch.Generator().manual_seed(0)
    person, drawn = (torch.rand(1, 1, 16, 24, 16, generator=rng) for _ in range(2))
    board = torch.from_numpy(np.indices((16, 24, 16)).sum(axis=0) % 2 - 0.5).float()
    assert float(lattice_excess(person, person)) == 0
    assert float(lattice_excess(0.5 * drawn, person)) == 0
    assert float(lattice_excess(drawn + 0.4 * board, person)) > 0.1
    flat = torch.zeros_like(person, requires_grad=True)
    lattice_excess(flat, flat.detach()).backward()  # no slope that is not finite
    assert torch.isfinite(flat.grad).all()  # type: ignore[arg-type]


def test_with_a_refiner_it_and_the_decoder_move(
    tmp_path: Path, drawn: list[Path], denoised: Denoised
) -> None:
    plain, _ = networks()
    autoencoder = with_refiner(plain, PRESET.refiner, (0.5, 0.5), (2.0, 2.0))
    assert autoencoder is not plain
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    one = task(tmp_path, drawn, denoised)
    state = TrainingState(Decoder(autoencoder), CONFIG, CPU, one.critic)
    list(train(state, one))
    after = state.model.put(autoencoder).state_dict()  # type: ignore[operator]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.partition(".")[0] for name in moved} == {"net", "refiner"}
    assert not any(name.startswith("net.encoder.") for name in moved)
    assert "refiner.mean" not in moved


def test_a_critic_of_fine_structure_sees_a_checkerboard_that_is_a_hundredth_of_the_volume() -> None:
    torch.manual_seed(1)
    judge = PatchCritic(replace(PRESET.critic, fine=50.0))
    plain = critic()
    volume = torch.rand(1, 1, 16, 24, 16, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool3d(volume, 5, stride=1, padding=2)
    board = torch.from_numpy(np.indices((16, 24, 16)).sum(axis=0) % 2 - 0.5).float()
    moved = [
        float((one(smooth) - one(smooth + 0.005 * board)).abs().max()) for one in (judge, plain)
    ]
    assert moved[0] > 3 * moved[1]
    assert "fine" not in PRESET.critic.to_json()


def test_matching_is_the_mean_difference_over_layers() -> None:
    ones, wide = torch.ones(1, 2, 3), torch.full((1, 4), 3.0)
    found = adversarial.matching_loss([ones, wide], [ones * 3, wide])
    assert float(found) == pytest.approx(1.0)


def test_the_critic_weighs_both_kinds_alike_whatever_their_number() -> None:
    judge = critic()
    real, found = torch.rand(1, 1, 16, 24, 16), torch.rand(2, 1, 16, 24, 16)
    loss, parts = adversarial.critic_loss(judge, real, found)
    torch.testing.assert_close(parts["real"], (judge(real) - 1).pow(2).mean())
    torch.testing.assert_close(parts["reconstructed"], judge(found).pow(2).mean())
    torch.testing.assert_close(loss, 0.5 * (parts["real"] + parts["reconstructed"]))


def test_validation_tells_the_same_figures_on_every_worker(
    tmp_path: Path, drawn: list[Path], denoised: Denoised
) -> None:
    validation = DecoderValidation(volume_paths(tmp_path)[:2], CONDITIONS[:2], drawn, denoised)
    decoder = Decoder(networks()[0])
    alone = validation(decoder, 0, 1, CPU)
    shares = [validation(decoder, rank, 3, CPU) for rank in range(3)]
    assert list(alone) == [*FIGURES, "count"]
    assert [share["count"] for share in shares] == [1, 1, 0]
    for name in alone:
        assert list(shares[2]) == list(alone)
        assert sum(share[name] for share in shares) == pytest.approx(alone[name], rel=1e-5)


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
