"""What is told of a training run: how far it is, what it found, and what it left."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from manifests.numbers import human_left, human_rate, human_seconds
from manifests.storage.base import Store
from manifests.terminal import table
from manifests.text import one_line
from ray_jobs.inspection.kinds import RUN, document

LOG, FINISHED, MODEL = "log.jsonl", "finished.json", "model"
MOST_LOG_BYTES = 64 * 2**20
QUIET_SECONDS = 120.0  # without a line in its log nobody trains
SHOWN = 8  # looks at held-out people, the last ones
RATES = 20  # of the last lines, by whose middle the time left is reckoned


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How far a training run is.

    Attributes:
        kind: what is trained, such as `diffusion`.
        step, steps: reached, and of how many; 0 where nothing was told yet.
        finished: whether its result is written.
        at_work: whether something was told lately, by the storage's clock.
        quiet_seconds: since the last line of its log; None where there is none.
        rate: steps a second lately; None where nobody is at work, or none is known.
        seconds_left: at that rate.
        looks: step and figures of each look at held-out people, in order.
        model: the folder of the model that it left; None where it left none.
    """

    uri: str
    kind: str
    step: int
    steps: int
    finished: bool
    at_work: bool
    quiet_seconds: float | None
    rate: float | None
    seconds_left: float | None
    looks: list[dict[str, float]]
    model: str | None


def read_run(store: Store, *, now: float | None = None) -> RunStatus:
    """The state of the run in `store`.

    Args:
        now: seconds since 1970.

    Raises:
        ReleaseError: the storage refuses or is away.
    """
    begun, finished = document(store, RUN) or {}, document(store, FINISHED)
    ended = finished.get("steps") if finished else None
    steps = [line for line in _lines(store) if _is_step(line)]
    entry = store.look(LOG)
    quiet = None if entry is None else max(0.0, (now or time.time()) - entry.modified)
    reached = int(steps[-1]["step"]) if steps else 0
    wanted = int(steps[-1]["steps"]) if steps else 0
    done = type(ended) is int and ended >= reached
    at_work = not done and quiet is not None and quiet < QUIET_SECONDS
    rates = [line["rate"] for line in steps if line.get("rate")][-RATES:]
    rate = median(rates) if rates and at_work else None
    has_model = store.look(f"{MODEL}/model.json") is not None
    return RunStatus(
        uri=store.uri,
        kind=one_line(begun.get("kind", "training")),
        step=ended if done and type(ended) is int else reached,
        steps=wanted or (ended if type(ended) is int else 0),
        finished=done,
        at_work=at_work,
        quiet_seconds=quiet,
        rate=rate,
        seconds_left=(wanted - reached) / rate if rate else None,
        looks=_looks(steps),
        model=f"{store.uri}/{MODEL}" if has_model else None,
    )


def told_status(run: RunStatus) -> list[str]:
    """How far it is, a few lines."""
    lines = [f"training  {run.kind}: {run.uri}", f"steps     {run.step:,} of {run.steps:,}"]
    if run.rate:
        lines.append(f"rate      {human_rate(run.rate, 'step')}")
    if run.seconds_left:
        lines.append(f"left      {human_left(run.seconds_left)} at that rate")
    if run.looks:
        lines.append(f"held out  {_figures(run.looks[-1])}")
    return [*lines, f"finished  {_finished(run)}"]


def looks_table(run: RunStatus) -> str:
    """The last looks at held-out people, a row each; empty where there was none."""
    last = run.looks[-SHOWN:]
    if not last:
        return ""
    names = list(last[-1])
    rows = [[f"{look[name]:.6g}" if name in look else "" for name in names] for look in last]
    return table(names, rows, right="r" * len(names))


def _finished(run: RunStatus) -> str:
    if run.finished:
        return "yes"
    if run.at_work:
        return "no, it is being trained"
    quiet = f" for {human_seconds(run.quiet_seconds)}" if run.quiet_seconds is not None else ""
    return f"no, and nothing was told{quiet}: run the same command again to go on"


def _figures(look: dict[str, float]) -> str:
    told = ", ".join(f"{name} {value:.4g}" for name, value in look.items() if name != "step")
    return f"{told} at step {int(look['step']):,}"


def _looks(lines: list[dict[str, Any]]) -> list[dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for line in lines:
        values = line.get("values") or {}
        held_out = {
            name.removeprefix("validation "): float(value)
            for name, value in values.items()
            if name.startswith("validation ") and "_0." not in name
        }
        if held_out:
            found[int(line["step"])] = {"step": float(line["step"]), **held_out}
    return [found[step] for step in sorted(found)]


def _is_step(line: dict[str, Any]) -> bool:
    """Whether a line of the log tells of a step, as ours do."""
    values = line.get("values", {})
    return (
        type(line.get("step")) is int
        and type(line.get("steps")) is int
        and isinstance(values, dict)
        and all(
            isinstance(value, int | float) for value in (*values.values(), line.get("rate", 0) or 0)
        )
    )


def _lines(store: Store) -> list[dict[str, Any]]:
    """The lines of its log; one that a death left unfinished is left out."""
    try:
        text = store.get(LOG, most=MOST_LOG_BYTES).decode(errors="replace")
    except KeyError:
        return []
    found = []
    for line in text.splitlines():
        try:
            read = json.loads(line)
        except ValueError:
            continue
        if isinstance(read, dict):
            found.append(read)
    return found
