"""The noise schedule of diffusion: how much image and how much noise each time step holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ldm.errors import LdmError
from ldm.untrusted import MOST_STEPS

PREDICTIONS = ("epsilon", "v", "x0", "flow")
IMAGE = -1  # the time step of the clean image
# The share of image at a sampler's first call above which noise alone is no stand-in for it.
MOST_SIGNAL = 0.2


class Level(NamedTuple):
    """A noise level: x = signal x_0 + sigma eps, eps ~ N(0, 1)."""

    signal: float
    sigma: float

    @property
    def log_snr(self) -> float:
        """lambda = log(signal / sigma), half the log of the signal-to-noise ratio; inf at the
        image. Lu et al. 2022 section 2."""
        return math.log(self.signal / self.sigma) if self.sigma else math.inf


CLEAN = Level(1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The path from image to noise, and what the network says of a point on it.

    Attributes:
        steps: number of training time steps T.
        beta_start, beta_end: first and last beta, linear in their square roots ("scaled linear",
            Rombach et al. 2022; the paper's 0.0015 to 0.0205). A flow has none.
        prediction: what the network predicts: "epsilon" (Ho et al. 2020), "v" (Salimans & Ho
            2022) or "x0", the image itself (Li & He 2025), on the variance-preserving path of
            those betas, or "flow", the velocity eps - x_0 of the straight path (Lipman et al.
            2023; Liu et al. 2023).
        truncation: the time step at which sampling ends, on the denoiser's image of it, to which
            a refiner that was trained on such images adds the rest (truncated diffusion, Zheng et
            al. 2023); 0: sampling goes on to the image itself.
    """

    steps: int = 1000
    beta_start: float = 0.0015
    beta_end: float = 0.0205
    prediction: str = "epsilon"
    truncation: int = 0

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise LdmError(f"prediction {self.prediction!r}: expected one of {PREDICTIONS}")
        if not isinstance(self.steps, int) or self.steps > MOST_STEPS:
            raise LdmError(f"schedule of {self.steps} steps: expected at most {MOST_STEPS:,}")
        if self.steps < 1 or not 0 < self.beta_start <= self.beta_end < 1:
            raise LdmError(
                f"schedule of {self.steps} steps, betas {self.beta_start}..{self.beta_end}: "
                "expected steps >= 1 and 0 < beta_start <= beta_end < 1"
            )
        if not isinstance(self.truncation, int) or not 0 <= self.truncation < self.steps:
            raise LdmError(
                f"schedule truncated at time step {self.truncation}: expected one of its "
                f"{self.steps}, or 0"
            )

    def alphas_bar(self) -> np.ndarray:
        """Cumulative product of 1 - beta_t, (T,) float64; Ho et al. 2020 eq. 4. Not of a flow."""
        betas = np.linspace(self.beta_start**0.5, self.beta_end**0.5, self.steps) ** 2
        return np.asarray(np.cumprod(1.0 - betas))

    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Signal and sigma of every step, each (T,) float64.

        A flow's step is the middle of one of T equal intervals of its time 0..1, so that none is
        all noise and every log-SNR is finite.
        """
        if self.prediction == "flow":
            time = (np.arange(self.steps) + 0.5) / self.steps
            return 1 - time, time
        alphas_bar = self.alphas_bar()
        return np.sqrt(alphas_bar), np.sqrt(1 - alphas_bar)

    def to_json(self) -> dict[str, Any]:
        """The fields; `truncation` only where there is one, which older models knew nothing of."""
        return {k: v for k, v in asdict(self).items() if v or k != "truncation"}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Schedule:
        return cls(**document)


def step_pairs(
    training_steps: int, sampling_steps: int, truncation: int = 0
) -> list[tuple[int, int]]:
    """The (t, previous t) pairs of a sampler, from noise to image; -1 stands for the image.

    With R the time step of truncation, R + (T - R) i // n for i = n - 1 down to 0 ("leading"
    spacing): from nearly pure noise for every n, also where n does not divide T, and independent
    of any library's idea of the spacing.

    >>> step_pairs(1000, 4)
    [(750, 500), (500, 250), (250, 0), (0, -1)]
    >>> step_pairs(1000, 3, truncation=250)
    [(750, 500), (500, 250), (250, -1)]

    Raises:
        LdmError: fewer than 1 or more than `training_steps - truncation` sampling steps.
    """
    most = training_steps - truncation
    if not 1 <= sampling_steps <= most:
        raise LdmError(
            f"{sampling_steps} sampling steps: expected between 1 and {most}, "
            "the steps the model was trained with"
        )
    times = [truncation + most * i // sampling_steps for i in reversed(range(sampling_steps))]
    return list(zip(times, [*times[1:], IMAGE], strict=True))


def even_times(schedule: Schedule, count: int) -> list[int]:
    """`count` evenly spaced time steps, from noise to image: those of `step_pairs`.

    But for the few steps whose first would still be image to more than `MOST_SIGNAL` (of the
    paper's betas 1 or 2, of a flow up to 4): a sampler brings noise alone, so they begin at T - 1
    ("trailing" spacing, Lin et al. 2024 section 3.3), and with truncation end at its step.

    >>> even_times(Schedule(), 50)[:2], even_times(Schedule(), 1)
    ([980, 960], [999])
    >>> even_times(Schedule(prediction="flow"), 4)
    [999, 749, 499, 249]

    Raises:
        LdmError: as `step_pairs`.
    """
    times = [t for t, _ in step_pairs(schedule.steps, count, schedule.truncation)]
    last, end = schedule.steps - 1, schedule.truncation
    if schedule.levels()[0][times[0]] <= MOST_SIGNAL:
        return times
    if end and count > 1:
        return [end + (last - end) * i // (count - 1) for i in reversed(range(count))]
    return [schedule.steps * i // count - 1 for i in range(count, 0, -1)]


def log_snr_times(schedule: Schedule, count: int) -> list[int]:
    """`count` time steps, from T - 1 on, evenly spread over the log-SNR.

    Even steps in the solver's own variable (Lu et al. 2022 section 5.1): `count` of them lead from
    step T - 1 to step 0, and the last goes to the image instead; of a truncated schedule, whose end
    is an image of its own, the last of several is the step of truncation. Rounded to steps that the
    network was trained with, each visited once.
    """
    signal, sigma = schedule.levels()
    log_snr, end = np.log(signal / sigma), schedule.truncation
    if end and count > 1:
        wanted = np.linspace(log_snr[-1], log_snr[end], count)
    else:
        wanted = np.linspace(log_snr[-1], log_snr[0], count + 1)[:-1]
    nearest = np.interp(wanted, log_snr[::-1], np.arange(schedule.steps)[::-1])
    times: list[int] = []
    for left, time in zip(reversed(range(count)), np.rint(nearest), strict=True):
        highest = times[-1] - 1 if times else schedule.steps - 1
        times.append(max(min(int(time), highest), end + left))
    return times
