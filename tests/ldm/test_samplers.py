"""Samplers against oracles: an ideal denoiser, the equations, and MONAI's own steps."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from ldm.errors import LdmError
from ldm.samplers import sample, split, target
from ldm.schedule import CLEAN, PREDICTIONS, Level, Schedule, step_pairs
from ldm.solvers import ddim_step, ddpm_step

SHAPE = (1, 2, 2, 2)


@functools.cache
def small_set() -> Tensor:
    """Five images (5, 1, 2, 2, 2), some way from each other."""
    return 2 * torch.randn((5, *SHAPE), generator=torch.Generator().manual_seed(0))


def ideal(schedule: Schedule) -> functools.partial[Tensor]:
    """The denoiser that is exactly right when all images there are are those of `small_set`."""
    return functools.partial(ideal_prediction, schedule)


def ideal_prediction(schedule: Schedule, latent: Tensor, times: Tensor) -> Tensor:
    """The posterior mean E[x_0 | x_t], a softmax over the set, told as the schedule predicts."""
    signal, sigma = level(schedule, int(times[0]))
    x, images = latent.double().flatten(1), small_set().double().flatten(1)
    distances = (x[:, None] - signal * images[None]).pow(2).sum(-1)
    mean = torch.softmax(-distances / (2 * sigma**2), dim=1) @ images
    epsilon = (x - signal * mean) / sigma
    said = {"epsilon": epsilon, "v": signal * epsilon - sigma * mean, "flow": epsilon - mean}
    return said[schedule.prediction].float().view_as(latent)


def level(schedule: Schedule, step: int) -> Level:
    """The noise level of a step; -1 is the image."""
    signal, sigma = schedule.levels()
    return CLEAN if step < 0 else Level(float(signal[step]), float(sigma[step]))


def noise(*numbers: int, count: int = 24) -> Tensor:
    seed = sum(n * 1000**i for i, n in enumerate(numbers))
    return torch.randn((count, *SHAPE), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(
    ("sampler", "steps"), [("ddim", 50), ("ddim", 30), ("ddim", 7), ("ddpm", 100), ("ddpm", 30)]
)
def test_with_an_ideal_denoiser_every_sample_is_an_image_of_the_set(
    sampler: str, steps: int, prediction: str
) -> None:
    schedule = Schedule(prediction=prediction)
    found = sample(
        ideal(schedule),
        noise(1),
        schedule,
        sampler=sampler,
        steps=steps,
        step_noise=lambda number: noise(2, number),
    )
    gaps = (found[:, None] - small_set()[None]).flatten(2).abs().amax(-1)
    assert gaps.amin(1).max() < 0.02
    assert len(gaps.argmin(1).unique()) == 5  # all of the set, not one of it


def test_epsilon_and_v_are_two_ways_to_say_the_same() -> None:
    found = [
        sample(ideal(schedule), noise(3), schedule, steps=20)
        for schedule in (Schedule(prediction=p) for p in ("epsilon", "v"))
    ]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("step", [0, 400, 900])
def test_split_inverts_target(prediction: str, step: int) -> None:
    schedule = Schedule(prediction=prediction)
    image, epsilon = noise(4, count=3).double(), noise(5, count=3).double()
    noisy, wanted = target(image, epsilon, torch.full((3,), step), schedule)
    found = split(wanted, noisy, level(schedule, step), prediction)
    torch.testing.assert_close(found, (image, epsilon), rtol=1e-5, atol=1e-5)


def test_each_sample_of_a_batch_has_its_own_time() -> None:
    image, epsilon = torch.ones(2, *SHAPE), torch.full((2, *SHAPE), 3.0)
    schedule = Schedule()
    noisy, _ = target(image, epsilon, torch.tensor([0, 999]), schedule)
    for found, alpha_bar in zip(noisy, schedule.alphas_bar()[[0, 999]], strict=True):
        expected = torch.full(SHAPE, float(alpha_bar**0.5 + 3 * (1 - alpha_bar) ** 0.5))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_a_ddim_step_is_monai_s_where_the_pairs_agree(prediction: str) -> None:
    from monai.networks.schedulers import DDIMScheduler

    theirs = DDIMScheduler(
        num_train_timesteps=1000,
        schedule="scaled_linear_beta",
        beta_start=0.0015,
        beta_end=0.0205,
        prediction_type={"epsilon": "epsilon", "v": "v_prediction"}[prediction],
        clip_sample=False,
    )
    theirs.set_timesteps(50)
    latent, predicted = noise(6), noise(7)
    for t, previous in step_pairs(1000, 50):
        here, there = level(Schedule(), t), level(Schedule(), previous)
        image, epsilon = split(predicted, latent, here, prediction)
        ours = ddim_step(image, epsilon, here, there)
        wanted, their_image = theirs.step(predicted, t, latent)
        torch.testing.assert_close(image, their_image, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-4)


def test_a_ddpm_step_is_monai_s_where_the_pairs_agree() -> None:
    from monai.networks.schedulers import DDPMScheduler

    theirs = DDPMScheduler(
        num_train_timesteps=1000,
        schedule="scaled_linear_beta",
        beta_start=0.0015,
        beta_end=0.0205,
        clip_sample=False,
    )
    latent, predicted = noise(8), noise(9)
    for t in (999, 500, 20, 1, 0):
        here, there = level(Schedule(), t), level(Schedule(), t - 1)
        # MONAI draws its noise in the step; the generator's first numbers are the same here.
        drawn = torch.randn(latent.shape, generator=torch.Generator().manual_seed(t))
        image, _ = split(predicted, latent, here, "epsilon")
        ours = ddpm_step(image, latent, here, there, drawn if t else None)
        wanted, _ = theirs.step(predicted, t, latent, torch.Generator().manual_seed(t))
        torch.testing.assert_close(ours, wanted, rtol=2e-3, atol=1e-3)


def test_ddim_needs_no_noise_and_ddpm_says_that_it_does() -> None:
    schedule = Schedule()
    sample(ideal(schedule), noise(1), schedule, steps=2)
    with pytest.raises(LdmError, match="DDPM sampler needs step_noise"):
        sample(ideal(schedule), noise(1), schedule, sampler="ddpm", steps=2)


def test_an_unknown_sampler_is_refused() -> None:
    schedule = Schedule()
    with pytest.raises(LdmError, match="sampler 'euler': expected one of ddim, ddpm"):
        sample(ideal(schedule), noise(1), schedule, sampler="euler")
