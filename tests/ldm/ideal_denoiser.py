"""Denoisers that are exactly right about a known distribution: oracles for every sampler."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ldm.diffusion.schedule import CLEAN, Level, Schedule

SHAPE = (1, 2, 2, 2)


@functools.cache
def small_set() -> Tensor:
    """Five images (5, 1, 2, 2, 2), some way from each other."""
    return 2 * torch.randn((5, *SHAPE), generator=torch.Generator().manual_seed(0))


def noise(*numbers: int, count: int = 24) -> Tensor:
    """N(0, 1) of (count, *SHAPE), a function of the numbers."""
    seed = sum(n * 1000**i for i, n in enumerate(numbers))
    return torch.randn((count, *SHAPE), generator=torch.Generator().manual_seed(seed))


def level(schedule: Schedule, step: int) -> Level:
    """The noise level of a step; -1 is the image."""
    signal, sigma = schedule.levels()
    return CLEAN if step < 0 else Level(float(signal[step]), float(sigma[step]))


def ideal(schedule: Schedule) -> functools.partial[Tensor]:
    """The denoiser that is exactly right when all images there are are those of `small_set`."""
    return functools.partial(ideal_prediction, schedule)


def ideal_prediction(schedule: Schedule, latent: Tensor, times: Tensor) -> Tensor:
    """E[x_0 | x_t], told as the schedule predicts."""
    here = level(schedule, int(times[0]))
    image = posterior_mean(latent.double(), here, small_set().double(), width=0)
    epsilon = (latent.double() - here.signal * image) / here.sigma
    v = here.signal * epsilon - here.sigma * image
    said = {"epsilon": epsilon, "v": v, "x0": image, "flow": epsilon - image}
    return said[schedule.prediction].float()


def posterior_mean(latent: Tensor, here: Level, images: Tensor, *, width: float) -> Tensor:
    """E[x_0 | x_t] where x_0 is one of `images`, all alike, plus N(0, width^2).

    A softmax over the images; for each the mean of two Gaussians' product.
    """
    x, centres = latent.flatten(1), images.flatten(1)
    variance = (here.signal * width) ** 2 + here.sigma**2
    distances = (x[:, None] - here.signal * centres[None]).pow(2).sum(-1)
    mean = torch.softmax(-distances / (2 * variance), dim=1) @ centres
    gain = here.signal * width**2 / variance
    return (mean + gain * (x - here.signal * mean)).view_as(latent)
