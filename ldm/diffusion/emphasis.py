"""Which noise levels training dwells on: weights of the loss, and how time steps are drawn."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from ldm.diffusion.schedule import Schedule

NO_WEIGHTING, MIN_SNR = WEIGHTINGS = ("none", "min-snr")
UNIFORM, LOGIT_NORMAL = TIMESTEPS = ("uniform", "logit-normal")
# The signal-to-noise ratio above which an image is not asked for more strictly: Hang et al. 2023
# section 4.3.
GAMMA = 5.0


def min_snr_weights(schedule: Schedule) -> np.ndarray:
    """The weight of the squared error of the prediction at each step, (T,) float64.

    min(SNR, gamma) on the error of the image (Hang et al. 2023 section 3.4), whatever is
    predicted: an error of epsilon is one of the image times signal / sigma, one of v or of a
    flow's velocity is one of the image over sigma. That is min(SNR, gamma) / SNR and
    min(SNR, gamma) / (SNR + 1) on the variance-preserving path.
    """
    signal, sigma = schedule.levels()
    snr = (signal / sigma) ** 2
    of_image = {"x0": np.ones_like(snr), "epsilon": 1 / snr}  # d(error of image)^2 / d(error)^2
    weights: np.ndarray = np.minimum(snr, GAMMA) * of_image.get(schedule.prediction, sigma**2)
    return weights


def time_step(share: float, schedule: Schedule, timesteps: str) -> int:
    """The time step at which a sample is trained.

    Args:
        share: uniform in 0..1.
        timesteps: "uniform", or "logit-normal": t / T = 1 / (1 + exp(-n)), n ~ N(0, 1), which
            dwells on the middle (Esser et al. 2024 section 3.1, their best, rf/lognorm(0, 1)).
    """
    if timesteps == LOGIT_NORMAL:
        share = NormalDist().inv_cdf(min(max(share, 1e-12), 1 - 1e-12))
        share = 1 / (1 + math.exp(-share))
    return min(int(share * schedule.steps), schedule.steps - 1)
