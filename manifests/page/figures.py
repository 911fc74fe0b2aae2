"""How columns are spread, drawn as SVG; figures.js redraws it for the samples that are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manifests.page.columns import PageColumn

BINS = 30  # about
WIDTH, HEIGHT, BAR = 10, 100, 9  # of a bin, of the figure, of a bar: units of its viewBox
GROUPED_BY, MOST_GROUPS = "sex", 4


@dataclass(frozen=True)
class Bins:
    """Equal bins with round edges: `low + i * step` for i from 0 to `count`."""

    low: float
    step: float
    count: int

    @property
    def high(self) -> float:
        return _round(self.low + self.step * self.count, self.step)

    def places(self, values: np.ndarray) -> np.ndarray:
        """The bin of each value; -1 where it is none."""
        there = np.isfinite(values)
        places = np.full(len(values), -1)
        found = np.floor((values[there] - self.low) / self.step)
        places[there] = np.clip(found, 0, self.count - 1)
        return places


def bins_of(*values: np.ndarray) -> Bins:
    """Bins that hold all these numbers.

    >>> bins_of(np.array([21.2, 79.0]))
    Bins(low=20.0, step=2.0, count=30)
    """
    numbers = np.concatenate(values)
    numbers = numbers[np.isfinite(numbers)]
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)
    width = (high - low) / BINS
    if not width > 0 or not math.isfinite(width):
        width = max(abs(low), 1.0) / BINS
    power = 10.0 ** math.floor(math.log10(width))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= width * 0.95)
    first = math.floor(low / step)
    count = max(1, math.floor(high / step) - first + 1)
    return Bins(_round(first * step, step), _round(step, step), count)


def group_column(columns: Sequence[PageColumn]) -> PageColumn | None:
    """The column by which the figures are coloured, where there is one."""
    for column in columns:
        if column.name == GROUPED_BY and 1 < len(column.levels) <= MOST_GROUPS:
            return column
    return None


def histogram(
    column: PageColumn, bins: Bins, groups: PageColumn | None, measured: PageColumn | None
) -> str:
    """The bars of a column, stacked by group over their sum, and a line of what was measured."""
    places = bins.places(column.values)
    kinds = [np.ones(len(places), bool)]
    if groups is not None:
        kinds = [groups.values == place for place in range(len(groups.levels))]
    counts = [_counted(places[kind], bins.count) for kind in kinds]
    total = _counted(places, bins.count)
    most = max(1, int(total.max()))
    paths = [f'<path class="all" d="{bars(total, most)}"/>']
    below = np.zeros(bins.count, int)
    for group, count in enumerate(counts):
        paths.append(f'<path class="part part{group}" d="{bars(count, most, below)}"/>')
        below = below + count
    if measured is not None:
        line = outline(_counted(bins.places(measured.values), bins.count), most)
        paths.append(f'<path class="measured" d="{line}"/>')
    return (
        f'<svg class="bars" viewBox="0 0 {bins.count * WIDTH} {HEIGHT}" preserveAspectRatio="none"'
        f' aria-hidden="true" focusable="false">{"".join(paths)}</svg>'
    )


def bars(counts: np.ndarray, most: int, below: np.ndarray | None = None) -> str:
    """The path of bars, each standing on the one below it. figures.js draws the same."""
    lines = []
    for place, count in enumerate(counts):
        if count:
            height = _units(count / most * HEIGHT)
            foot = HEIGHT - (0 if below is None else below[place] / most * HEIGHT)
            lines.append(f"M{place * WIDTH} {_units(foot)}v-{height}h{BAR}v{height}z")
    return "".join(lines)


def outline(counts: np.ndarray, most: int) -> str:
    """The path of a line over the bins. figures.js draws the same."""
    heights = [_units(HEIGHT - min(1.0, count / most) * HEIGHT) for count in counts]
    steps = [f"V{height}h{WIDTH}" for height in heights]
    return f"M0 {HEIGHT}{''.join(steps)}V{HEIGHT}"


def _counted(places: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(places[places >= 0], minlength=count)


def _units(length: float) -> str:
    return f"{length:.1f}".removesuffix(".0")


def _round(value: float, step: float) -> float:
    """Without the last digits that multiplying leaves."""
    return round(value, max(0, 2 - math.floor(math.log10(step))))
