"""What holds for any number of steps and any pair of noise levels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ldm.diffusion.config import SAMPLERS, Sampling
from ldm.diffusion.guidance import guided
from ldm.diffusion.multistep import dpm_2m, unipc, weights
from ldm.diffusion.samplers import points, split, target
from ldm.diffusion.schedule import PREDICTIONS, Level, Schedule, step_pairs
from ldm.diffusion.solvers import Point, ddim, ddim_step, ddpm_step

ALPHA_BARS = st.floats(1e-4, 1 - 1e-4)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_steps_go_from_noise_to_image_evenly(data: st.DataObject) -> None:
    training = data.draw(st.integers(1, 1200))
    sampling = data.draw(st.integers(1, training))
    pairs = step_pairs(training, sampling)
    times = [t for t, _ in pairs]
    assert len(pairs) == sampling
    assert [previous for _, previous in pairs] == [*times[1:], -1]
    assert times[-1] == 0
    gaps = {a - b for a, b in zip([training, *times], times, strict=False)}
    exact = training / sampling
    assert gaps <= {int(exact), -int(-exact // 1)}, "from T down to 0 by equal steps"


@given(ALPHA_BARS, ALPHA_BARS)
@settings(max_examples=100, deadline=None)
def test_a_ddpm_step_keeps_the_mean_and_the_variance_of_the_forward_process(
    one: float, other: float
) -> None:
    """Ho et al. 2020 eq. 4: x_prev has mean sqrt(a_prev) x_0 and variance 1 - a_prev."""
    here, there = min(one, other), max(one, other)
    assume(there - here > 1e-6)
    before, after = (Level(a**0.5, (1 - a) ** 0.5) for a in (here, there))
    zero, unit = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    of_image = float(ddpm_step(unit, zero, before, after, None))
    of_latent = float(ddpm_step(zero, unit, before, after, None))
    of_noise = float(ddpm_step(zero, zero, before, after, unit))
    assert of_image + of_latent * here**0.5 == pytest.approx(there**0.5)
    assert of_latent**2 * (1 - here) + of_noise**2 == pytest.approx(1 - there)


@given(st.integers(0, 999), ALPHA_BARS, st.sampled_from(PREDICTIONS))
@settings(max_examples=100, deadline=None)
def test_a_ddim_step_with_the_true_answer_stays_on_the_path_from_noise_to_image(
    step: int, there: float, prediction: str
) -> None:
    image, epsilon = torch.randn(2, 1, 6, dtype=torch.float64, generator=torch.Generator())
    schedule = Schedule(prediction=prediction)
    noisy, wanted = target(image, epsilon, torch.tensor([step]), schedule)
    signal, sigma = schedule.levels()
    here, ahead = (
        Level(float(signal[step]), float(sigma[step])),
        Level(there**0.5, (1 - there) ** 0.5),
    )
    found = ddim_step(*split(wanted, noisy, here, prediction), here, ahead)
    torch.testing.assert_close(found, there**0.5 * image + (1 - there) ** 0.5 * epsilon)


@given(st.data(), st.sampled_from(SAMPLERS), st.sampled_from(PREDICTIONS))
@settings(max_examples=150, deadline=None)
def test_every_sampler_visits_trained_steps_once_from_noise_to_image(
    data: st.DataObject, sampler: str, prediction: str
) -> None:
    schedule = Schedule(steps=data.draw(st.integers(1, 300)), prediction=prediction)
    steps = data.draw(st.integers(1, schedule.steps))
    path = points(schedule, Sampling(sampler=sampler, steps=steps))
    times = [point.time for point in path]
    assert len(path) == steps + 1
    assert times == sorted(set(times), reverse=True)
    assert schedule.steps > times[0]
    assert times[-1] == -1
    assert [p.level.sigma for p in path] == sorted((p.level.sigma for p in path), reverse=True)


@given(st.lists(st.floats(0.05, 3), min_size=2, max_size=5), st.floats(0.05, 3))
@settings(max_examples=100, deadline=None)
def test_the_weights_of_a_step_share_out_all_of_the_image(gaps: list[float], step: float) -> None:
    nodes = [2 - sum(gaps[:count]) for count in range(len(gaps))]
    assert sum(weights(nodes, 2, 2 + step)) == pytest.approx(-math.expm1(-step), rel=1e-6)


@given(st.data(), st.sampled_from(PREDICTIONS))
@settings(max_examples=60, deadline=None)
def test_told_the_true_image_every_solver_stays_on_the_path_and_ends_on_it(
    data: st.DataObject, prediction: str
) -> None:
    schedule = Schedule(prediction=prediction)
    steps = data.draw(st.integers(1, 40))
    sampler = data.draw(st.sampled_from(["ddim", "dpm++2m", "unipc"]))
    path = points(schedule, Sampling(sampler=sampler, steps=steps))
    image, epsilon = torch.randn(2, 1, 6, dtype=torch.float64, generator=torch.Generator())

    def denoise(latent: Tensor, here: Point) -> tuple[Tensor, Tensor]:
        wanted = here.level.signal * image + here.level.sigma * epsilon
        torch.testing.assert_close(latent, wanted, rtol=1e-6, atol=1e-6)
        return image, epsilon

    start = path[0].level.signal * image + path[0].level.sigma * epsilon
    solver = {"ddim": ddim, "dpm++2m": dpm_2m, "unipc": unipc}[sampler]
    torch.testing.assert_close(solver(denoise, start, path), image)


@given(st.floats(0, 20))
@settings(max_examples=50, deadline=None)
def test_guidance_moves_from_the_unconditional_along_what_the_conditions_say(scale: float) -> None:
    """Ho & Salimans 2022 eq. 6, (1 + w') conditional - w' unconditional with w' = scale - 1."""
    with_, without = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 4.0])
    found = guided(lambda *_: with_, lambda *_: without, scale)(with_, with_)
    torch.testing.assert_close(found, scale * with_ - (scale - 1) * without)
