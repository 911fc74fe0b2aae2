"""The bar that a user watches, and a log's lines: how much is done, how fast, what is left."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

from manifests.numbers import counted, human_left, human_rate, human_seconds
from manifests.terminal import Bar, draws

# A rate is that of the last minutes, and of more of them the longer the work goes on.
LEAST_MEMORY_SECONDS, MEMORY_SHARE = 120.0, 1.0
# In a log: often at first, when somebody may be looking, then ever more seldom.
LEAST_PAUSE_SECONDS, PAUSE_SHARE, MOST_PAUSE_SECONDS = 5.0, 0.5, 300.0


class Pace:
    """How many are done a second, smoothed, with the pauses between them.

    The clock starts with the first that is done: starting up is no part of the pace.
    """

    def __init__(self) -> None:
        self._began: float | None = None
        self._last = (0.0, 0)
        self._seconds = self._done = 0.0

    def update(self, now: float, done: int) -> float:
        """The rate when `done` have been done by `now`, in seconds; 0 while nothing is known."""
        if self._began is None:
            if done > 0:
                self._began, self._last = now, (now, done)
            return 0.0
        then, before = self._last
        memory = max(LEAST_MEMORY_SECONDS, MEMORY_SHARE * (now - self._began))
        kept = math.exp(-(now - then) / memory)
        self._seconds = kept * self._seconds + now - then
        self._done = kept * self._done + done - before
        self._last = (now, done)
        return self._done / self._seconds if self._seconds > 0 else 0.0


class Progress:
    """Draws the bar in place on a terminal; anywhere else, a dated line now and then.

    Args:
        total: what there is to do, in all.
        already: of it, what earlier runs did.
        what: is done to it, the first words of every line; of a release nothing.
        thing: of which so many are done a second; None where nobody asks how many.
        stream: where to draw.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        already: int = 0,
        *,
        what: str = "",
        thing: str | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.already, self.what, self.thing = total, already, what, thing
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live = draws(self._stream)
        self._bar = Bar(self._stream, what) if self._live else None
        self._pace, self._rate = Pace(), 0.0
        self._done, self._told = 0, ""
        self._began = self._line = clock()

    @property
    def rate(self) -> float:
        """Done a second, as far as it is known; else 0."""
        return self._rate

    def update(self, done: int, workers: int | None = None, told: str = "") -> None:
        """Show that this run has done so many.

        Args:
            workers: at work; 0 while they start.
            told: of what was done last, on the bar.
        """
        now = self._clock()
        self._done, self._told = done, told
        self._rate = self._pace.update(now, done)
        if self._bar is not None:
            self._show(self.text(done, workers, told))
        elif now - self._line >= self._pause():
            self._line = now
            self.say(self.text(done, workers, told))

    def begin(self) -> None:
        """In a log, say what is about to be done, and of how many."""
        if not self._live:
            self.say(self.text(0))

    def end(self, done: int) -> None:
        """Show all that was done, whenever the last line was."""
        self._done = done
        if not self._live:
            self.say(self._last())
        self.close()

    def text(self, done: int, workers: int | None = None, told: str = "") -> str:
        """`48/128  38 %  1.9 volumes/s  40 s left  2 workers`; in a log `what` before it."""
        made = min(self.total, self.already + done)
        parts = self._counted(made)
        if self._rate > 0 and made < self.total:
            parts += [human_rate(self._rate, self.thing)] if self.thing else []
            parts.append(f"{human_left((self.total - made) / self._rate)} left")
        if workers is not None and made < self.total:
            parts.append(counted(workers, "worker") if workers else "workers are starting")
        return "  ".join([*parts, *([told] if told else [])])

    def say(self, line: str) -> None:
        """A line of its own, above the bar; in a log with the time (UTC)."""
        if self._bar is not None:
            self._bar.say(line)
            return
        when = "" if self._live else f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z  "
        self._stream.write(f"{when}{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the bar with all that was done, and go to the next line."""
        if self._bar is not None:
            self._show(self._last())
            self._bar.close()
            self._bar = None

    def _last(self) -> str:
        """What the bar, or a log, tells at the end."""
        made = min(self.total, self.already + self._done)
        took = [f"in {human_seconds(self._clock() - self._began)}"] if self._done else []
        told = [self._told] if self._told and self._live else []
        return "  ".join([*self._counted(made), *took, *told])

    def _counted(self, made: int) -> list[str]:
        what = [self.what] if self.what and not self._live else []
        return [*what, f"{made:,}/{self.total:,}", f"{100 * made // max(1, self.total)} %"]

    def _show(self, text: str) -> None:
        assert self._bar is not None
        made = min(self.total, self.already + self._done)
        self._bar.show(made, self.total, text)

    def _pause(self) -> float:
        """Before the next line of a log, in seconds."""
        share = PAUSE_SHARE * (self._line - self._began)
        return min(MOST_PAUSE_SECONDS, max(LEAST_PAUSE_SECONDS, share))


def watched(
    rows: Iterable[dict[str, Any]],
    total: int,
    what: str,
    *,
    already: int = 0,
    of: str | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows, as they come, while a bar or a log tells how many of `total` there are.

    Args:
        what: is done to them.
        already: how many earlier runs did.
        of: the field of a row that says how many it stands for; one where None.
    """
    progress, done = Progress(total, already, what=what), 0
    progress.begin()
    progress.update(0)
    try:
        for row in rows:
            done += 1 if of is None else int(row[of])
            progress.update(done)
            yield row
        progress.end(done)
    finally:
        progress.close()
