"""The bar that a user watches, and a log's lines: how much is done, how fast, what is left."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

from manifests.numbers import counted, human_rate, human_seconds

WINDOW_SECONDS = 120.0
# In a log: often at first, when somebody may be looking, then once a minute.
LINE_EVERY_SECONDS = 15.0
SETTLED_AFTER_SECONDS = 300.0
SETTLED_EVERY_SECONDS = 60.0
BAR_WIDTH = 24


class Rate:
    """Volumes a second over the last two minutes, so that starting up is soon forgotten."""

    def __init__(self, now: float) -> None:
        self._seen: deque[tuple[float, int]] = deque([(now, 0)])

    def update(self, now: float, done: int) -> float:
        """The rate when `done` volumes have been made by `now`; 0 while nothing is known."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[0][0] < now - WINDOW_SECONDS:
            self._seen.popleft()
        (then, before), (now, after) = self._seen[0], self._seen[-1]
        return (after - before) / (now - then) if now > then and after > before else 0.0


class Progress:
    """Draws the bar in place on a terminal; anywhere else, a dated line now and then.

    Args:
        total: volumes of the release.
        already: volumes that earlier runs made.
        what: what is done to them, the first words of every line; of a release nothing.
        stream: where to draw.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        already: int = 0,
        *,
        what: str = "",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.already, self.what = total, already, what
        self._stream = stream or sys.stderr
        self._clock = clock
        self._tty = self._stream.isatty()
        self._rate = Rate(clock())
        self._drawn = ""
        self._began = self._last_line = clock()

    def update(self, done: int, workers: int | None = None) -> None:
        """Show that this run has made `done` volumes, and that `workers` are at work."""
        now = self._clock()
        rate = self._rate.update(now, done)
        if self._tty:
            width = shutil.get_terminal_size().columns - 1  # what wraps cannot be drawn over
            self._redraw(self.text(done, workers, rate)[:width])
        elif now - self._last_line >= self._pause(now):
            self._last_line = now
            self.say(self.text(done, workers, rate))

    def begin(self) -> None:
        """In a log, say what is about to be done, and of how many."""
        if not self._tty:
            self.say(self.text(0, None, 0.0))

    def end(self, done: int) -> None:
        """Show all that was done, whenever the last line was."""
        if self._tty:
            self.update(done)
            self.close()
        else:
            self.say(self.text(done, None, 0.0))

    def text(self, done: int, workers: int | None, rate: float) -> str:
        """`[######....]  48/128  38 %  1.9 volumes/s  42 s left  2 workers`; no bar in a log."""
        made = min(self.total, self.already + done)
        filled = BAR_WIDTH * made // self.total
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        parts = [self.what] if self.what else []
        parts += [f"[{bar}]"] if self._tty else []
        parts += [f"{made}/{self.total}", f"{100 * made // self.total} %"]
        if rate > 0:
            parts += [] if self.what else [human_rate(rate)]
            parts += (
                [f"{human_seconds((self.total - made) / rate)} left"] if made < self.total else []
            )
        if workers is not None:
            parts.append(counted(workers, "worker") if workers else "starting")
        return "  ".join(parts)

    def say(self, line: str) -> None:
        """A line of its own, above the bar; in a log with the time (UTC)."""
        drawn = self._drawn
        self._redraw("")
        when = "" if self._tty else f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z  "
        self._stream.write(f"{when}{line}\n")
        self._redraw(drawn)
        self._stream.flush()

    def close(self) -> None:
        """Leave the bar where it is and go to the next line."""
        if self._drawn:
            self._stream.write("\n")
            self._drawn = ""
            self._stream.flush()

    def _pause(self, now: float) -> float:
        settled = now - self._began >= SETTLED_AFTER_SECONDS
        return SETTLED_EVERY_SECONDS if settled else LINE_EVERY_SECONDS

    def _redraw(self, text: str) -> None:
        if not self._tty:
            return
        self._stream.write("\r" + text.ljust(len(self._drawn)) + ("" if text else "\r"))
        self._drawn = text
        self._stream.flush()


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
    for row in rows:
        done += 1 if of is None else int(row[of])
        progress.update(done)
        yield row
    progress.end(done)
