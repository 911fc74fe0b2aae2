"""The lines of a run's log in words."""

from __future__ import annotations

import re
from typing import Any

BY_BAND = re.compile(r"_\d\.\d\d_\d\.\d\d$")  # figures by band of frequency: curves, not words


def sentence(line: dict[str, Any]) -> str:
    """What a line of the log says to whoever watches."""
    if "resumed" in line:
        return f"goes on from step {line['resumed']}/{line['steps']}"
    if "failed" in line:
        failed = "; ".join(f"worker {rank}: {why}" for rank, why in line["failed"].items())
        return f"{failed}; the workers start again from the last checkpoint"
    if "hung" in line:
        return f"no worker comes further: {'; '.join(map(_waited, line['hung']))}"
    if "alarm" in line:
        return f"step {line['step']}/{line['steps']}: {line['alarm']}"
    told = {name: v for name, v in line["values"].items() if not BY_BAND.search(name)}
    values = ", ".join(f"{name} {value:.4g}" for name, value in told.items())
    text = f"step {line['step']}/{line['steps']}: {values}"
    if line["rate"]:
        left = (line["steps"] - line["step"]) / line["rate"] / 60
        text += f" ({line['rate']:.2f} steps/s, {left:.0f} min left)"
    return text


def _waited(sign: dict[str, Any]) -> str:
    at = f"at step {sign['step'] + 1} for {sign['waited']:.0f} s"
    return f"worker {sign['rank']} {sign['what']} {at}"
