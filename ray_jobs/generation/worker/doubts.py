"""Draws that are not what they must be: a fault of the device, until another one draws the same."""

from __future__ import annotations

from manifests.numbers import counted, ranges
from ray_jobs.errors import JobError

# Draws of samples, each by (index, attempt).
Draws = frozenset[tuple[int, int]]


class DoubtfulError(JobError):
    """A device's draws are not what they must be, and it may be the device's fault.

    Attributes:
        draws: which.
        whole: whether they are of all the samples that were drawn at once.
    """

    def __init__(self, message: str, draws: Draws = frozenset(), *, whole: bool = False) -> None:
        super().__init__(message, exit_code=1)
        self.draws, self.whole = draws, whole


def not_finite(draws: Draws, *, whole: bool) -> DoubtfulError:
    """The error of draws that hold NaN or infinity.

    Args:
        whole: whether nothing else came out.
    """
    samples = {index for index, _ in draws}
    what = f"{counted(len(samples), 'volume')} not finite"
    told = f"{what} (samples {ranges(sorted(samples))})"
    return DoubtfulError(told, draws, whole=whole)


def unlike_before(draws: Draws) -> DoubtfulError:
    """The error of draws that came out otherwise than the manifest says."""
    samples = ranges(sorted(index for index, _ in draws))
    return DoubtfulError(f"samples {samples} did not come out as the manifest says", draws)
