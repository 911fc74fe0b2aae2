"""Few-step solvers: their order of convergence, exact answers, and diffusers' steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ldm.diffusion.multistep import dpm_2m, unipc, weights
from ldm.diffusion.samplers import split
from ldm.diffusion.schedule import CLEAN, IMAGE, Level, Schedule
from ldm.diffusion.solvers import Point, ddim
from tests.ldm.ideal_denoiser import ideal, level, noise, posterior_mean, small_set

Solver = Callable[..., Tensor]


def path(steps: int, *, first: float = -2.0, last: float = 1.5) -> list[Point]:
    """Variance-preserving levels evenly over the log-SNR."""
    signals = [(1 + math.exp(-2 * at)) ** -0.5 for at in np.linspace(first, last, steps + 1)]
    return [Point(0, Level(signal, (1 - signal**2) ** 0.5)) for signal in signals]


def of_mixture(latent: Tensor, here: Point) -> tuple[Tensor, Tensor]:
    """The image and noise of a latent whose images are small Gaussian clouds: a smooth flow."""
    image = posterior_mean(latent, here.level, small_set().double(), width=0.6)
    return image, (latent - here.level.signal * image) / here.level.sigma


@pytest.mark.parametrize(
    ("solver", "order"),
    [(ddim, 1), (dpm_2m, 2), (unipc, 3)],
    ids=["ddim-1", "dpm++2m-2", "unipc-3"],
)
def test_the_error_falls_with_the_solver_s_order(solver: Solver, order: int) -> None:
    start = noise(1).double()
    exact = unipc(of_mixture, start, path(1200))
    errors = [
        float((solver(of_mixture, start, path(steps)) - exact).pow(2).mean().sqrt())
        for steps in (40, 160)
    ]
    assert math.log(errors[0] / errors[1], 4) > order - 0.35, errors


@pytest.mark.parametrize("solver", [ddim, dpm_2m, unipc])
def test_the_flow_of_a_gaussian_is_solved_as_it_is_in_closed_form(solver: Solver) -> None:
    """Of images N(0, w^2) the flow keeps x / std(x) at every level."""
    width, points = 0.5, path(400)

    def denoise(latent: Tensor, here: Point) -> tuple[Tensor, Tensor]:
        image = posterior_mean(latent, here.level, torch.zeros(1, 8).double(), width=width)
        return image, (latent - here.level.signal * image) / here.level.sigma

    start = noise(1).double()
    ends = (math.hypot(p.level.signal * width, p.level.sigma) for p in (points[0], points[-1]))
    before, after = ends
    found = solver(denoise, start, points)
    torch.testing.assert_close(found, start * after / before, rtol=5e-3, atol=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("steps", [8, 20, 50])
@pytest.mark.parametrize("name", ["dpm++2m", "unipc"])
def test_whole_runs_are_those_of_diffusers_over_the_same_times(
    name: str, steps: int, prediction: str
) -> None:
    import diffusers

    common: dict[str, Any] = {
        "beta_start": 0.0015,
        "beta_end": 0.0205,
        "beta_schedule": "scaled_linear",
        "prediction_type": {"epsilon": "epsilon", "v": "v_prediction"}[prediction],
        "timestep_spacing": "linspace",
        "solver_order": 2,
        "final_sigmas_type": "zero",
    }
    theirs: Any
    if name == "unipc":
        theirs = diffusers.UniPCMultistepScheduler(solver_type="bh2", **common)
    else:
        # Its "midpoint" is algorithm 2 of the paper.
        theirs = diffusers.DPMSolverMultistepScheduler(solver_type="midpoint", **common)
    theirs.set_timesteps(steps)
    schedule = Schedule(prediction=prediction)
    times = theirs.timesteps.tolist()
    points = [*(Point(t, level(schedule, t)) for t in times), Point(IMAGE, CLEAN)]

    def denoise(latent: Tensor, here: Point) -> tuple[Tensor, Tensor]:
        predicted = ideal(schedule)(latent, torch.tensor([here.time]))
        return split(predicted, latent, here.level, prediction)

    wanted = noise(2)
    for t in theirs.timesteps:
        wanted = theirs.step(ideal(schedule)(wanted, t[None]), t, wanted).prev_sample
    solver = {"dpm++2m": dpm_2m, "unipc": unipc}[name]
    torch.testing.assert_close(solver(denoise, noise(2), points), wanted, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_weights_integrate_polynomials_exactly(count: int) -> None:
    rng = np.random.default_rng(count)
    start, end = -1.0, -0.3
    nodes = [start, *sorted(rng.uniform(-4, start - 0.2, count - 1), reverse=True)]
    grid = np.linspace(start, end, 20_001)
    for power in range(count):
        curve = np.exp(grid - end) * grid**power
        exact = np.sum((curve[1:] + curve[:-1]) / 2) * (grid[1] - grid[0])
        found = np.dot(weights(nodes, start, end), np.array(nodes) ** power)
        assert found == pytest.approx(exact, rel=1e-6)
