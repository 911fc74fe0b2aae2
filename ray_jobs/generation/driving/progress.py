"""The bar that a user watches: how many volumes are done, how fast, and how long it still takes."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

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
        stream: where to draw.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        already: int = 0,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.already = total, already
        self._stream = stream or sys.stderr
        self._clock = clock
        self._tty = self._stream.isatty()
        self._rate = Rate(clock())
        self._drawn = ""
        self._began = self._last_line = clock()

    def update(self, done: int, workers: int) -> None:
        """Show that this run has made `done` volumes, and that `workers` are at work."""
        now = self._clock()
        rate = self._rate.update(now, done)
        if self._tty:
            width = shutil.get_terminal_size().columns - 1  # what wraps cannot be drawn over
            self._redraw(self.text(done, workers, rate)[:width])
        elif now - self._last_line >= self._pause(now):
            self._last_line = now
            self.say(self.text(done, workers, rate))

    def text(self, done: int, workers: int, rate: float) -> str:
        """`[######....]  48/128  38 %  1.9 volumes/s  42 s left  2 workers`; no bar in a log."""
        made = min(self.total, self.already + done)
        filled = BAR_WIDTH * made // self.total
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        parts = [f"[{bar}]"] if self._tty else []
        parts += [f"{made}/{self.total}", f"{100 * made // self.total} %"]
        if rate > 0:
            parts += [human_rate(rate), f"{human_seconds((self.total - made) / rate)} left"]
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
