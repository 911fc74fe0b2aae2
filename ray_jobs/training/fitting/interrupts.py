"""What Ctrl-C and SIGTERM mean to a training: a checkpoint first, and at once the second time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """The signals that came.

    Attributes:
        count: of them.
        exit_code: 128 and the number of the first, as shells have it; 0 before it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.exit_code = 0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take over both signals for the time of a block, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._on) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.exit_code = self.exit_code or 128 + number
