"""Few-step solvers: the probability flow in the log-SNR, with what earlier steps found.

With lambda = log(signal / sigma) and x_0(lambda) the denoiser's image at that level, the flow
from s to t is, exactly (Lu et al. 2022, DPM-Solver++, proposition 4.1),

    x_t = sigma_t / sigma_s x_s + signal_t integral_s^t exp(lambda - lambda_t) x_0(lambda) dlambda.

A solver replaces x_0(lambda) by a polynomial through images that it has; the integral is then a
weighted sum of them. At the image lambda is infinite and the sum is the last image alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from ldm.diffusion.schedule import Level
from ldm.diffusion.solvers import Denoise, Point

Images = list[tuple[float, Tensor]]  # log-SNR and the image seen there, the newest first


def dpm_2m(denoise: Denoise, latent: Tensor, path: Sequence[Point]) -> Tensor:
    """DPM-Solver++(2M), Lu et al. 2022 algorithm 2: second order, one call a step."""
    seen: Images = []
    for here, there in pairwise(path):
        seen = [(here.level.log_snr, denoise(latent, here)[0]), *seen[:1]]
        latent = advance(latent, here.level, there.level, seen)
    return latent


def unipc(denoise: Denoise, latent: Tensor, path: Sequence[Point]) -> Tensor:
    """UniPC-2, Zhao et al. 2023 algorithms 5 and 7 with B(h) = exp(h) - 1, one call a step.

    Each step is predicted from two images, as in DPM-Solver++(2M). The image found where it leads
    to then corrects that very step, at no further call, before the next one is taken: third order.
    """
    seen: Images = []
    before: tuple[Tensor, Level] | None = None  # where the last step began
    for here, there in pairwise(path):
        found = (here.level.log_snr, denoise(latent, here)[0])
        if before is not None:
            latent = advance(*before, here.level, [found, *seen])
        before, seen = (latent, here.level), [found, *seen[:1]]
        latent = advance(latent, here.level, there.level, seen)
    return latent


def advance(latent: Tensor, here: Level, there: Level, images: Images) -> Tensor:
    """The step from `here` to `there` with the polynomial through `images`."""
    if not there.sigma:
        return images[0][1]
    found = zip(weights([at for at, _ in images], here.log_snr, there.log_snr), images, strict=True)
    image = sum(weight * image for weight, (_, image) in found)
    return there.sigma / here.sigma * latent + there.signal * image


def weights(nodes: Sequence[float], start: float, end: float) -> list[float]:
    """What each image counts in the integral of the module's equation.

    Two are joined by a line that is taken at the middle of the step, as both papers do (Zhao et
    al. 2023 appendix F: rho = 1/2); more by a polynomial that is integrated exactly.

    Args:
        nodes: log-SNR of the images.
        start, end: log-SNR of the step's ends.
    """
    step = end - start
    # In u = (lambda - start) / step: integral_0^1 of exp(step (u - 1)) u^k step du, k = 0, 1, ...
    moments = [-math.expm1(-step)]
    for power in range(1, len(nodes)):
        moments.append(1 - power * moments[-1] / step)
    if len(nodes) == 2:
        moments[1] = moments[0] / 2
    places = (np.array(nodes) - start) / step
    powers = np.vander(places, increasing=True).T
    return [float(weight) for weight in np.linalg.solve(powers, moments)]
