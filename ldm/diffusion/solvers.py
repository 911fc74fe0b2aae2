"""Solvers: from noise to image along a path of noise levels, each a pure function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from ldm.diffusion.schedule import Level


class Point(NamedTuple):
    """A point of the path: the network's time step (-1 at the image) and its noise level."""

    time: int
    level: Level


# (noisy latent (B, C, x, y, z), where it is) -> the image and the noise it seems to be made of
Denoise = Callable[[Tensor, Point], tuple[Tensor, Tensor]]
# step number from 0 -> N(0, 1) of the latent's shape
StepNoise = Callable[[int], Tensor]


def ddim(
    denoise: Denoise,
    latent: Tensor,
    path: Sequence[Point],
    *,
    eta: float = 0.0,
    step_noise: StepNoise | None = None,
) -> Tensor:
    """Song et al. 2021: deterministic at eta = 0, with the variance of DDPM at eta = 1."""
    for number, (here, there) in enumerate(pairwise(path)):
        image, epsilon = denoise(latent, here)
        noise = step_noise(number) if eta and step_noise and there.level.sigma else None
        latent = ddim_step(image, epsilon, here.level, there.level, eta, noise)
    return latent


def ddpm(
    denoise: Denoise, latent: Tensor, path: Sequence[Point], *, step_noise: StepNoise
) -> Tensor:
    """Ho et al. 2020 algorithm 2, over any subset of the steps."""
    for number, (here, there) in enumerate(pairwise(path)):
        image, _ = denoise(latent, here)
        noise = step_noise(number) if there.level.sigma else None
        latent = ddpm_step(image, latent, here.level, there.level, noise)
    return latent


def ddim_step(
    image: Tensor,
    epsilon: Tensor,
    here: Level,
    there: Level,
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """Song et al. 2021 eq. 12; the noise put in has the std of eq. 16, eta times DDPM's."""
    if noise is None:
        return there.signal * image + there.sigma * epsilon
    std = eta * posterior_variance(here, there) ** 0.5
    rest = max(0.0, there.sigma**2 - std**2) ** 0.5
    return there.signal * image + rest * epsilon + std * noise


def ddpm_step(
    image: Tensor, latent: Tensor, here: Level, there: Level, noise: Tensor | None
) -> Tensor:
    """The posterior q(x_there | x_here, x_0): Ho et al. 2020 eq. 6-7, for any pair of levels of
    any path as in Kingma et al. 2021 appendix A."""
    ratio = here.signal / there.signal
    added = here.sigma**2 - (ratio * there.sigma) ** 2
    of_image, of_latent = there.signal * added, ratio * there.sigma**2
    mean = of_image / here.sigma**2 * image + of_latent / here.sigma**2 * latent
    return mean if noise is None else mean + posterior_variance(here, there) ** 0.5 * noise


def posterior_variance(here: Level, there: Level) -> float:
    """Of x_there given x_here and x_0 (Ho et al. 2020 eq. 7; Kingma et al. 2021 eq. 25)."""
    added = here.sigma**2 - (here.signal / there.signal * there.sigma) ** 2
    return added * (there.sigma / here.sigma) ** 2
