"""How columns are spread, drawn as SVG; figures.js redraws it for the samples that are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manifests.numbers import human_number
from manifests.page.columns import PageColumn

MOST_BINS, LEAST_BINS = 30, 5  # about
MOST_TICKS = 5
# Of a bin, of the figure, of a bar, of the lowest bar: units of its viewBox.
WIDTH, HEIGHT, BAR, LEAST = 10, 100, 9, 0.8
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
    """Bins that hold all these numbers: few for few of them.

    >>> bins_of(np.linspace(21.2, 79.0, 16))
    Bins(low=20.0, step=10.0, count=6)
    >>> bins_of(np.linspace(21.2, 79.0, 5000))
    Bins(low=20.0, step=2.0, count=30)
    """
    numbers = np.concatenate(values)
    numbers = numbers[np.isfinite(numbers)]
    wanted = _wanted(max(int(np.isfinite(one).sum()) for one in values))
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)
    width = (high - low) / wanted
    if not width > 0 or not math.isfinite(width):
        width = max(abs(low), 1.0) / MOST_BINS
    power = 10.0 ** math.floor(math.log10(width))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= width * 0.95)
    first = math.floor(low / step)
    count = max(1, math.floor(high / step) - first + 1)
    return Bins(_round(first * step, step), _round(step, step), count)


def _wanted(numbers: int) -> int:
    """Rice's rule: twice the cube root of how many there are."""
    return min(MOST_BINS, max(LEAST_BINS, math.ceil(2 * round(numbers ** (1 / 3), 9))))


def top_of(most: int) -> int:
    """Where an axis of counts ends: a round number, even where half of it is marked.

    >>> [top_of(most) for most in (0, 1, 3, 7, 11, 350)]
    [1, 1, 4, 8, 20, 400]
    """
    power = 10 ** max(0, len(str(most)) - 1)
    return max(1, next(n * power for n in (1, 2, 4, 6, 8, 10) if n * power >= most))


def ticks(bins: Bins, per: float) -> list[tuple[float, float]]:
    """Where marks stand below a figure, as a share of its width, and what they say."""
    low, step = bins.low / per, bins.step / per
    between = next(
        step * factor
        for factor in (1, 2, 2.5, 4, 5, 8, 10, 20, 25, 40, 100)
        if bins.count / factor <= MOST_TICKS
    )
    first = math.ceil(low / between - 1e-9)
    last = math.floor(bins.high / per / between + 1e-9)
    marks = [_round(place * between, step) for place in range(first, last + 1)]
    return [((mark - low) / (step * bins.count), mark) for mark in marks]


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
    found = None if measured is None else _counted(bins.places(measured.values), bins.count)
    top = top_of(int(max(total.max(), 0 if found is None else found.max())))
    paths = [f'<path class="all" d="{bars(total, top)}"/>']
    below = np.zeros(bins.count, int)
    for group, count in enumerate(counts):
        paths.append(f'<path class="part part{group}" d="{bars(count, top, below)}"/>')
        below = below + count
    if found is not None:
        paths.append(f'<path class="measured" d="{outline(found, top)}"/>')
    return _with_axes("".join(paths), bins, top, column.per)


def _with_axes(paths: str, bins: Bins, top: int, per: float) -> str:
    """A figure with the counts at its left and the values below it; both keep their letters."""
    width = bins.count * WIDTH
    levels = [(0, top), (HEIGHT // 2, top // 2), (HEIGHT, 0)] if top > 1 else [(0, 1), (HEIGHT, 0)]
    lines = "".join(f"M0 {place}H{width}" for place, _ in levels)
    counts = "".join(f'<text x="100%" y="{y}%">{count:,}</text>' for y, count in levels)
    values = "".join(
        f'<text x="{_units(share * 100)}%" y="1.2em">{human_number(mark)}</text>'
        for share, mark in ticks(bins, per)
    )
    hidden = 'aria-hidden="true" focusable="false"'
    long = " long" if top >= 1000 else ""
    return (
        f'<svg class="counts{long}" {hidden}>{counts}</svg>'
        f'<svg class="bars" viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none"'
        f' data-top="{top}" {hidden}><path class="grid" d="{lines}"/>{paths}</svg>'
        f'<svg class="values" {hidden}>{values}</svg>'
    )


def bars(counts: np.ndarray, most: int, below: np.ndarray | None = None) -> str:
    """The path of bars, each standing on the one below it. figures.js draws the same.

    Args:
        most: the count that is as high as the figure.
    """
    lines = []
    for place, count in enumerate(counts):
        if count:
            height = _units(max(LEAST, count / most * HEIGHT))
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
