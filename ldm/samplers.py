"""Samplers: pure functions over a denoiser, with all noise given from outside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ldm.errors import LdmError
from ldm.schedule import Schedule, step_pairs

SAMPLERS = ("ddim", "ddpm")

# (noisy latent (B, C, x, y, z), step (B,)) -> prediction of the same shape
Predict = Callable[[Tensor, Tensor], Tensor]
# step number from 0 -> N(0, 1) of the latent's shape
StepNoise = Callable[[int], Tensor]


def sample(
    predict: Predict,
    noise: Tensor,
    schedule: Schedule,
    *,
    sampler: str = "ddim",
    steps: int = 50,
    step_noise: StepNoise | None = None,
) -> Tensor:
    """A latent (B, C, x, y, z) from `noise` of the same shape, in float32.

    Args:
        predict: the denoiser; what it predicts is `schedule.prediction`.
        sampler: "ddim" (deterministic) or "ddpm" (needs `step_noise`).
        steps: how many times the denoiser is called.

    Raises:
        LdmError: an unknown sampler, too many steps, or DDPM without noise.
    """
    if sampler not in SAMPLERS:
        raise LdmError(f"sampler {sampler!r}: expected one of {', '.join(SAMPLERS)}")
    if sampler == "ddpm" and step_noise is None:
        raise LdmError("the DDPM sampler needs step_noise: a function of the step number")
    alphas_bar = schedule.alphas_bar()
    latent = noise.float()
    for number, (t, previous) in enumerate(step_pairs(schedule.steps, steps)):
        here = float(alphas_bar[t])
        there = float(alphas_bar[previous]) if previous >= 0 else 1.0
        times = torch.full((len(latent),), t, dtype=torch.long, device=latent.device)
        image, epsilon = split(predict(latent, times).float(), latent, here, schedule.prediction)
        if sampler == "ddim":
            latent = ddim_step(image, epsilon, there)
        else:
            extra = step_noise(number) if step_noise and previous >= 0 else None
            latent = ddpm_step(image, latent, here, there, extra)
    return latent


def split(prediction: Tensor, latent: Tensor, alpha_bar: float, kind: str) -> tuple[Tensor, Tensor]:
    """The image and the noise that the prediction implies for this noisy latent.

    x_t = sqrt(a) x_0 + sqrt(1 - a) eps (Ho et al. 2020 eq. 4);
    v = sqrt(a) eps - sqrt(1 - a) x_0 (Salimans & Ho 2022 app. D).
    """
    signal, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    if kind == "epsilon":
        return (latent - sigma * prediction) / signal, prediction
    return signal * latent - sigma * prediction, signal * prediction + sigma * latent


def target(image: Tensor, noise: Tensor, step: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """The noisy latent at time `step` and what the network should say of it.

    All of shape (B, C, x, y, z); `step` (B,) integers below `schedule.steps`.
    """
    levels = torch.from_numpy(schedule.alphas_bar()).to(image.device, image.dtype)[step]
    a = levels.view(-1, *[1] * (image.ndim - 1))
    signal, sigma = a.sqrt(), (1 - a).sqrt()
    noisy = signal * image + sigma * noise
    return noisy, noise if schedule.prediction == "epsilon" else signal * noise - sigma * image


def ddim_step(image: Tensor, epsilon: Tensor, alpha_bar_previous: float) -> Tensor:
    """Song et al. 2021 eq. 12 with sigma = 0."""
    return alpha_bar_previous**0.5 * image + (1 - alpha_bar_previous) ** 0.5 * epsilon


def ddpm_step(
    image: Tensor,
    latent: Tensor,
    alpha_bar: float,
    alpha_bar_previous: float,
    noise: Tensor | None,
) -> Tensor:
    """The posterior q(x_prev | x_t, x_0), Ho et al. 2020 eq. 6-7, for any pair of times."""
    alpha = alpha_bar / alpha_bar_previous
    rest = 1 - alpha_bar
    mean = (alpha_bar_previous**0.5 * (1 - alpha) / rest) * image + (
        alpha**0.5 * (1 - alpha_bar_previous) / rest
    ) * latent
    if noise is None:
        return mean
    variance = (1 - alpha_bar_previous) / rest * (1 - alpha)
    return mean + variance**0.5 * noise
