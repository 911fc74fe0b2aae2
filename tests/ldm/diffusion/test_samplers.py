"""Samplers against oracles: an ideal denoiser, the equations, and the steps of libraries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ldm.diffusion.config import SAMPLERS, Sampling
from ldm.diffusion.samplers import points, sample, split, target
from ldm.diffusion.schedule import PREDICTIONS, Schedule, step_pairs
from ldm.diffusion.solvers import ddim_step, ddpm_step
from ldm.errors import LdmError
from tests.ldm.ideal_denoiser import SHAPE, ideal, level, noise, small_set

# Schedulers of libraries know no flow on the path of these betas.
PATHS = ("epsilon", "v")


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(
    ("sampler", "steps", "eta"),
    [
        ("ddim", 50, 0.0),
        ("ddim", 30, 0.0),
        ("ddim", 7, 0.0),
        ("ddim", 50, 0.5),
        ("ddim", 50, 1.0),
        ("ddpm", 100, 0.0),
        ("ddpm", 30, 0.0),
        ("dpm++2m", 30, 0.0),
        ("dpm++2m", 12, 0.0),
        ("unipc", 30, 0.0),
        ("unipc", 12, 0.0),
    ],
)
def test_with_an_ideal_denoiser_every_sample_is_an_image_of_the_set(
    sampler: str, steps: int, eta: float, prediction: str
) -> None:
    schedule = Schedule(prediction=prediction)
    found = sample(
        ideal(schedule),
        noise(1),
        schedule,
        Sampling(sampler=sampler, steps=steps, eta=eta),
        step_noise=lambda number: noise(2, number),
    )
    gaps = (found[:, None] - small_set()[None]).flatten(2).abs().amax(-1)
    assert gaps.amin(1).max() < 0.02
    assert len(gaps.argmin(1).unique()) == 5  # all of the set, not one of it


@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m", "unipc"])
def test_epsilon_and_v_are_two_ways_to_say_the_same(sampler: str) -> None:
    found = [
        sample(ideal(schedule), noise(3), schedule, Sampling(sampler=sampler, steps=20))
        for schedule in (Schedule(prediction=p) for p in PATHS)
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


def test_a_flow_goes_straight_from_image_to_noise_at_the_velocity_it_is_taught() -> None:
    """Liu et al. 2023 eq. 1: x_t = (1 - t) x_0 + t eps, and dx/dt = eps - x_0 all the way."""
    image, epsilon = noise(4, count=3).double(), noise(5, count=3).double()
    schedule = Schedule(prediction="flow")
    at = [target(image, epsilon, torch.full((3,), t), schedule) for t in (0, 300, 301, 999)]
    for _, velocity in at:
        torch.testing.assert_close(velocity, epsilon - image)
    torch.testing.assert_close(at[2][0] - at[1][0], (epsilon - image) / 1000)
    torch.testing.assert_close(at[0][0], 0.9995 * image + 0.0005 * epsilon)
    torch.testing.assert_close(at[3][0], 0.0005 * image + 0.9995 * epsilon)


@pytest.mark.parametrize("prediction", PATHS)
def test_a_ddim_step_is_monai_s_where_the_pairs_agree(prediction: str) -> None:
    # MONAI 1.6 visits 999, 979, ... and still subtracts 20; 1.5 visited ours. The step is right.
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


@pytest.mark.parametrize("prediction", PATHS)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_a_ddim_step_is_that_of_diffusers(prediction: str, eta: float) -> None:
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0205,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="leading",
        prediction_type={"epsilon": "epsilon", "v": "v_prediction"}[prediction],
    )
    theirs.set_timesteps(50)
    pairs = step_pairs(1000, 50)
    assert theirs.timesteps.tolist() == [t for t, _ in pairs]
    latent, predicted, drawn = noise(6), noise(7), noise(8)
    for t, previous in pairs:
        here, there = level(Schedule(), t), level(Schedule(), previous)
        image, epsilon = split(predicted, latent, here, prediction)
        ours = ddim_step(image, epsilon, here, there, eta, drawn if eta and there.sigma else None)
        wanted = theirs.step(predicted, t, latent, eta=eta, variance_noise=drawn if eta else None)
        torch.testing.assert_close(ours, wanted.prev_sample, rtol=1e-3, atol=1e-4)


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


def test_a_ddpm_step_over_many_trained_steps_is_that_of_diffusers() -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(
        beta_start=0.0015,
        beta_end=0.0205,
        beta_schedule="scaled_linear",
        clip_sample=False,
        timestep_spacing="leading",
    )
    theirs.set_timesteps(50)
    latent, predicted = noise(8), noise(9)
    for t, previous in step_pairs(1000, 50)[:-1]:
        here, there = level(Schedule(), t), level(Schedule(), previous)
        image, _ = split(predicted, latent, here, "epsilon")
        drawn = torch.randn(latent.shape, generator=torch.Generator().manual_seed(t))
        ours = ddpm_step(image, latent, here, there, drawn)
        wanted = theirs.step(predicted, t, latent, generator=torch.Generator().manual_seed(t))
        torch.testing.assert_close(ours, wanted.prev_sample, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim_at_eta_1_is_ddpm(prediction: str) -> None:
    schedule = Schedule(prediction=prediction)
    found = [
        sample(
            ideal(schedule),
            noise(1),
            schedule,
            how,
            step_noise=lambda number: noise(2, number),
        )
        for how in (Sampling(sampler="ddpm", steps=40), Sampling(eta=1.0, steps=40))
    ]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_with_any_eta_the_variance_of_a_gaussian_is_kept(prediction: str, eta: float) -> None:
    """Images are N(0, 0.5^2): with all the steps so are the samples, at every eta."""
    schedule, width, many = Schedule(prediction=prediction), 0.5, 10_000
    signal, sigma = schedule.levels()

    def predict(latent: Tensor, times: Tensor) -> Tensor:
        a, s = signal[int(times[0])], sigma[int(times[0])]
        image = a * width**2 / ((a * width) ** 2 + s**2) * latent
        epsilon = (latent - a * image) / s
        v = a * epsilon - s * image
        return {"epsilon": epsilon, "v": v, "x0": image, "flow": epsilon - image}[prediction]

    generator = torch.Generator().manual_seed(0)
    found = sample(
        predict,
        torch.randn((many, 1, 1, 1, 1), generator=generator),
        schedule,
        Sampling(steps=1000, eta=eta),
        step_noise=lambda _: torch.randn((many, 1, 1, 1, 1), generator=generator),
    )
    assert float(found.mean()) == pytest.approx(0, abs=4 * width / many**0.5)
    assert float(found.std()) == pytest.approx(width, rel=0.03)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_steps_are_calls_of_the_denoiser_each_at_an_earlier_time(sampler: str) -> None:
    schedule, seen = Schedule(), []

    def predict(latent: Tensor, times: Tensor) -> Tensor:
        seen.append(int(times[0]))
        return ideal(schedule)(latent, times)

    how = Sampling(sampler=sampler, steps=9)
    sample(predict, noise(1), schedule, how, step_noise=lambda number: noise(2, number))
    assert len(seen) == 9
    assert seen == sorted(set(seen), reverse=True)
    assert seen == [point.time for point in points(schedule, how)][:-1]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_one_call_gives_the_mean_of_all_images_and_not_the_noise(prediction: str) -> None:
    schedule = Schedule(prediction=prediction)
    found = sample(ideal(schedule), noise(1), schedule, Sampling(steps=1))
    mean = small_set().mean(0)
    assert float((found.mean(0) - mean).abs().max()) < 0.2
    assert float((found - noise(1)).pow(2).mean()) > 0.5
    assert float((found - mean).pow(2).mean()) < 0.2


def test_ddim_needs_no_noise_and_samplers_that_put_it_in_say_that_they_do() -> None:
    schedule = Schedule()
    sample(ideal(schedule), noise(1), schedule, Sampling(steps=2))
    for how in (Sampling(sampler="ddpm", steps=2), Sampling(eta=0.5, steps=2)):
        with pytest.raises(LdmError, match="needs step_noise"):
            sample(ideal(schedule), noise(1), schedule, how)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [0, 1001])
def test_too_few_or_too_many_steps_are_refused(sampler: str, steps: int) -> None:
    with pytest.raises(LdmError, match=f"{steps} sampling steps: expected between 1 and 1000"):
        points(Schedule(), Sampling(sampler=sampler, steps=steps))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sampler": "euler"}, "sampler 'euler': expected one of ddim, ddpm, dpm"),
        ({"eta": 1.5}, "eta 1.5: expected 0"),
        ({"eta": -0.1}, "eta -0.1: expected 0"),
        ({"eta": float("nan")}, "eta nan: expected 0"),
        ({"sampler": "ddpm", "eta": 0.5}, "eta 0.5 with sampler ddpm: only ddim takes an eta"),
        ({"sampler": "unipc", "eta": 1.0}, "eta 1 with sampler unipc: only ddim"),
        ({"guidance": -1.0}, "guidance -1: expected 0"),
        ({"guidance": float("inf")}, "guidance inf: expected 0"),
    ],
)
def test_impossible_sampling_is_refused_at_birth(fields: dict, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        Sampling(**fields)


def test_every_sampler_has_its_own_number_of_steps_and_words_for_people() -> None:
    assert [Sampling(sampler=name).count for name in ("ddim", "ddpm")] == [50, 1000]
    assert all(1 < Sampling(sampler=name).count <= 1000 for name in SAMPLERS)
    assert Sampling().text == "50 ddim steps"
    how = Sampling(steps=20, eta=0.25, guidance=3)
    assert how.text == "20 ddim steps, eta 0.25, guidance 3"


def test_altered_takes_what_is_given_and_keeps_the_rest() -> None:
    usual = Sampling(steps=20, eta=0.25, guidance=3)
    assert usual.altered() == usual
    assert usual.altered(sampler="ddim", eta=0.0) == Sampling(steps=20, guidance=3)
    assert usual.altered(sampler="unipc") == Sampling(sampler="unipc", guidance=3)
    assert Sampling.from_json(usual.to_json()) == usual
    assert Sampling().to_json() == {}
