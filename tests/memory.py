"""How much memory a block of code took at its worst, as Linux counts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Peak:
    """`mb`: the peak of the block above what was in use before it, in MB."""

    mb: float = 0.0


@contextmanager
def peak() -> Iterator[Peak]:
    """Measure the block; skips the test where the system cannot."""
    found = Peak()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    except OSError:
        pytest.skip("no /proc/self/clear_refs to measure with")
    before = _status("VmRSS")
    yield found
    found.mb = _status("VmHWM") - before


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1000
    raise AssertionError(name)
