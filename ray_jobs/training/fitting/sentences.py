"""The lines of a run's log in words."""

from __future__ import annotations

import re
from typing import Any

BY_BAND = re.compile(r"_\d\.\d\d_\d\.\d\d$")  # figures by band of frequency: curves, not words


def figures(values: dict[str, float], most: int | None = None) -> str:
    """`loss 0.5, l1 0.25`, without figures by band; at most so many of them."""
    told = [f"{name} {value:.4g}" for name, value in values.items() if not BY_BAND.search(name)]
    return ", ".join(told[:most])


def sentence(line: dict[str, Any]) -> str:
    """What a line of the log says that tells of more than figures."""
    if "resumed" in line:
        return f"goes on from step {line['resumed']}/{line['steps']}"
    if "failed" in line:
        failed = "; ".join(f"worker {rank}: {why}" for rank, why in line["failed"].items())
        return f"{failed}; the workers start again from the last checkpoint"
    if "hung" in line:
        return f"no worker comes further: {'; '.join(map(_waited, line['hung']))}"
    return f"step {line['step']}/{line['steps']}: {line['alarm']}"


def _waited(sign: dict[str, Any]) -> str:
    at = f"at step {sign['step'] + 1} for {sign['waited']:.0f} s"
    return f"worker {sign['rank']} {sign['what']} {at}"
