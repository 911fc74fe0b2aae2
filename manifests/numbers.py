"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable

UNITS = ("B", "kB", "MB", "GB", "TB")


def human_number(value: float) -> str:
    """Six digits at most, and no exponent below a million millions: 0.25, 6,995.68, 1,144,240."""
    return f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"


def counted(count: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "shard"), counted(2, "shard")
    ('1 shard', '2 shards')
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"


def human_bytes(size: float) -> str:
    """A size: 999 B, 1.2 MB."""
    unit = 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.1f} {UNITS[unit]}"


def human_seconds(seconds: float) -> str:
    """A length of time.

    >>> [human_seconds(s) for s in (0.2, 59.4, 61, 3_600, 90_061)]
    ['0 s', '59 s', '1 min 01 s', '1 h 00 min', '1 d 01 h']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def human_left(seconds: float) -> str:
    """A time that is estimated, with no digit that nobody knows.

    >>> [human_left(s) for s in (3, 42, 95, 3_000, 8_000, 200_000)]
    ['5 s', '40 s', '2 min', '50 min', '2 h 10 min', '2 d 08 h']
    """
    if seconds < 57.5:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 3570:
        return f"{max(1, round(seconds / 60))} min"
    step = 600 if seconds < 86_400 else 3600
    return human_seconds(step * round(seconds / step))


def human_rate(per_second: float, thing: str = "volume") -> str:
    """Volumes a second, or seconds a volume where that reads better.

    >>> human_rate(2.5), human_rate(0.2), human_rate(2.5, "step")
    ('2.5 volumes/s', '5.0 s/volume', '2.5 steps/s')
    """
    return f"{per_second:.1f} {thing}s/s" if per_second >= 1 else f"{1 / per_second:.1f} s/{thing}"


def ranges(numbers: Iterable[int], *, most: int = 8) -> str:
    """Ascending numbers, runs of them folded, at most so many runs.

    >>> ranges([3, 5, 6, 7, 9])
    '3, 5-7, 9'
    >>> ranges([1, 3, 5, 7], most=2)
    '1, 3 and 2 more'
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        goes_on = runs and runs[-1][1] == number - 1
        runs.append((runs.pop()[0] if goes_on else number, number))
    shown = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:most])
    left = sum(last - first + 1 for first, last in runs[most:])
    return f"{shown} and {left:,} more" if left else shown
