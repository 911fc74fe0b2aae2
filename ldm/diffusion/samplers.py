"""Samplers: a latent from noise, by a denoiser and one of the solvers; all noise is given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ldm.diffusion.config import Sampler, Sampling
from ldm.diffusion.multistep import dpm_2m, unipc
from ldm.diffusion.schedule import CLEAN, IMAGE, Level, Schedule, even_times, log_snr_times
from ldm.diffusion.solvers import Point, StepNoise, ddim, ddpm
from ldm.errors import LdmError

# (noisy latent (B, C, x, y, z), step (B,)) -> prediction of the same shape
Predict = Callable[[Tensor, Tensor], Tensor]


def sample(
    predict: Predict,
    noise: Tensor,
    schedule: Schedule,
    sampling: Sampling | None = None,
    *,
    step_noise: StepNoise | None = None,
) -> Tensor:
    """A latent (B, C, x, y, z) from `noise` of the same shape, in float32.

    Args:
        predict: the denoiser; what it predicts is `schedule.prediction`. Guidance is its own
            business: `ldm.diffusion.guidance`.
        sampling: the sampler, its steps and options; by default 50 steps of DDIM.
        step_noise: the noise that a sampler puts in at each step, where it does.

    Raises:
        LdmError: too many steps, or a sampler that puts noise in and is given none.
    """
    sampling = sampling or Sampling()
    path = points(schedule, sampling)
    start = noise.float()

    def denoise(latent: Tensor, point: Point) -> tuple[Tensor, Tensor]:
        times = torch.full((len(latent),), point.time, dtype=torch.long, device=latent.device)
        return split(predict(latent, times).float(), latent, point.level, schedule.prediction)

    if sampling.noise_share and step_noise is None:
        raise LdmError(f"{sampling.text} needs step_noise: a function of the step number")
    if sampling.sampler == Sampler.DPM_2M:
        return dpm_2m(denoise, start, path)
    if sampling.sampler == Sampler.UNIPC:
        return unipc(denoise, start, path)
    if sampling.sampler == Sampler.DDPM:
        assert step_noise is not None
        return ddpm(denoise, start, path, step_noise=step_noise)
    return ddim(denoise, start, path, eta=sampling.eta, step_noise=step_noise)


def points(schedule: Schedule, sampling: Sampling) -> list[Point]:
    """Where a sampler calls the denoiser, from noise on, and the image at the end.

    Raises:
        LdmError: fewer than 1 or more than `schedule.steps` steps.
    """
    times = even_times(schedule, sampling.count)  # refuses too many
    if sampling.sampler not in (Sampler.DDIM, Sampler.DDPM):
        times = log_snr_times(schedule, sampling.count)
    signal, sigma = schedule.levels()
    path = [Point(t, Level(float(signal[t]), float(sigma[t]))) for t in times]
    return [*path, Point(IMAGE, CLEAN)]


def split(
    prediction: Tensor,
    latent: Tensor,
    level: tuple[float, float] | tuple[Tensor, Tensor],
    kind: str,
) -> tuple[Tensor, Tensor]:
    """The image and the noise that the prediction implies for this noisy latent.

    `level` is signal and sigma, of all or of each.

    x_t = signal x_0 + sigma eps (Ho et al. 2020 eq. 4);
    v = signal eps - sigma x_0 (Salimans & Ho 2022 app. D); x0 is the image itself;
    flow: u = eps - x_0 with signal = 1 - sigma (Lipman et al. 2023 eq. 23).
    """
    signal, sigma = level
    if kind == "epsilon":
        return (latent - sigma * prediction) / signal, prediction
    if kind == "v":
        return signal * latent - sigma * prediction, signal * prediction + sigma * latent
    if kind == "x0":
        return prediction, (latent - signal * prediction) / sigma
    return latent - sigma * prediction, latent + signal * prediction


def target(image: Tensor, noise: Tensor, step: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """The noisy latent at time `step` and what the network should say of it.

    All of shape (B, C, x, y, z); `step` (B,) integers below `schedule.steps`.
    """
    signal, sigma = _levels_at(step, schedule, image)
    noisy = signal * image + sigma * noise
    wanted = {
        "epsilon": lambda: noise,
        "v": lambda: signal * noise - sigma * image,
        "x0": lambda: image,
        "flow": lambda: noise - image,
    }
    return noisy, wanted[schedule.prediction]()


def image_of(prediction: Tensor, noisy: Tensor, step: Tensor, schedule: Schedule) -> Tensor:
    """The image that the prediction implies for noisy latents at `step`; shapes of `target`."""
    level = _levels_at(step, schedule, noisy)
    return split(prediction, noisy, level, schedule.prediction)[0]


def _levels_at(step: Tensor, schedule: Schedule, like: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and sigma at each of the steps (B,), (B, 1, ...) of the kind of `like`."""
    signal, sigma = (
        torch.from_numpy(values).to(like.device, like.dtype)[step].view(-1, *[1] * (like.ndim - 1))
        for values in schedule.levels()
    )
    return signal, sigma
