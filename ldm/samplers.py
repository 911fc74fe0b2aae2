"""Samplers: a latent from noise, by a denoiser and one of the solvers; all noise is given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ldm.errors import LdmError
from ldm.schedule import CLEAN, IMAGE, Level, Schedule, step_pairs
from ldm.solvers import Point, StepNoise, ddim, ddpm

SAMPLERS = ("ddim", "ddpm")

# (noisy latent (B, C, x, y, z), step (B,)) -> prediction of the same shape
Predict = Callable[[Tensor, Tensor], Tensor]


def sample(
    predict: Predict,
    noise: Tensor,
    schedule: Schedule,
    *,
    sampler: str = "ddim",
    steps: int = 50,
    eta: float = 0.0,
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

    def denoise(latent: Tensor, point: Point) -> tuple[Tensor, Tensor]:
        times = torch.full((len(latent),), point.time, dtype=torch.long, device=latent.device)
        return split(predict(latent, times).float(), latent, point.level, schedule.prediction)

    signal, sigma = schedule.levels()
    times = [t for t, _ in step_pairs(schedule.steps, steps)]
    path = [Point(t, Level(float(signal[t]), float(sigma[t]))) for t in times]
    path.append(Point(IMAGE, CLEAN))
    if sampler == "ddpm":
        assert step_noise is not None
        return ddpm(denoise, noise.float(), path, step_noise=step_noise)
    return ddim(denoise, noise.float(), path, eta=eta, step_noise=step_noise)


def split(prediction: Tensor, latent: Tensor, level: Level, kind: str) -> tuple[Tensor, Tensor]:
    """The image and the noise that the prediction implies for this noisy latent.

    x_t = signal x_0 + sigma eps (Ho et al. 2020 eq. 4);
    v = signal eps - sigma x_0 (Salimans & Ho 2022 app. D);
    flow: u = eps - x_0 with signal = 1 - sigma (Lipman et al. 2023 eq. 23).
    """
    signal, sigma = level
    if kind == "epsilon":
        return (latent - sigma * prediction) / signal, prediction
    if kind == "v":
        return signal * latent - sigma * prediction, signal * prediction + sigma * latent
    return latent - sigma * prediction, latent + signal * prediction


def target(image: Tensor, noise: Tensor, step: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """The noisy latent at time `step` and what the network should say of it.

    All of shape (B, C, x, y, z); `step` (B,) integers below `schedule.steps`.
    """
    signal, sigma = (
        torch.from_numpy(values)
        .to(image.device, image.dtype)[step]
        .view(-1, *[1] * (image.ndim - 1))
        for values in schedule.levels()
    )
    noisy = signal * image + sigma * noise
    wanted = {
        "epsilon": lambda: noise,
        "v": lambda: signal * noise - sigma * image,
        "flow": lambda: noise - image,
    }
    return noisy, wanted[schedule.prediction]()
