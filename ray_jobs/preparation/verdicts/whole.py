"""What the verdicts of all subjects come to: a mixture of heads and brains, and a line for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ldm.anatomy.inspection.scan import BRAIN, HEAD
from ray_jobs.errors import JobError
from ray_jobs.preparation.cohort import INSPECTED
from ray_jobs.preparation.options import Options
from ray_jobs.preparation.verdicts.verdict import STRIP

Outcomes = Mapping[str, Mapping[str, Any]]

_MOST_TOLD = 20  # subjects told of on the terminal; cohort.json tells of all
_NAMED = 5
_ONE = {HEAD: "whole head", BRAIN: "brain without skull"}
_MANY = {HEAD: "whole heads", BRAIN: "brains without skull"}


def unmixed(
    done: Outcomes, options: Options, unusable: int, most: float | None
) -> dict[str, dict[str, str]]:
    """The outcomes of who is left out lest heads and brains are mixed; nobody where they are not.

    Args:
        done: the outcomes of all.
        unusable: how many subjects are, heads that do not fit the grid among them.
        most: how many may be, by --max-unusable; None where that is not said.

    Raises:
        JobError: a mixture, and --max-unusable does not allow to leave the fewer out.
    """
    shown: dict[str, list[str]] = {HEAD: [], BRAIN: []}
    for name, outcome in sorted(done.items()):
        if (kind := outcome.get("inspection", {}).get("kind")) in shown:
            shown[kind].append(name)
    if options.skull_strip or not (shown[HEAD] and shown[BRAIN]):
        return {}
    refused = any("whole head" in done[name].get("faults", ()) for name in shown[HEAD])
    fewer = HEAD if refused or len(shown[HEAD]) <= len(shown[BRAIN]) else BRAIN
    more = BRAIN if fewer == HEAD else HEAD
    out = [name for name in shown[fewer] if "sha256" in done[name]]
    if most is not None and unusable + len(out) <= most:
        reason = f"a {_ONE[fewer]} among {_counted(more, shown)}: {STRIP}"
        return {name: {"reason": reason} for name in out}
    raise JobError(
        f"{_counted(HEAD, shown)} and {_counted(BRAIN, shown)} in one cohort ({_MANY[fewer]}: "
        f"{_names(shown[fewer])}), and no model of both is right: {STRIP} makes brains of all, "
        f"--max-unusable {unusable + len(out)} leaves the {_MANY[fewer]} out",
        exit_code=1,
    )


def told_subjects(done: Outcomes) -> list[dict[str, str]]:
    """Who is in the cohort though something is amiss, and what; for cohort.json."""
    return [
        {"participant_id": name, "told": outcome["told"]}
        for name, outcome in sorted(done.items())
        if "told" in outcome and "sha256" in outcome
    ]


def told_lines(done: Outcomes) -> list[str]:
    """The same for people: a line a subject, the first of them, and one that sums them up."""
    told = told_subjects(done)
    lines = [f"note: {one['participant_id']}: {one['told']}" for one in told[:_MOST_TOLD]]
    if told:
        faults = Counter(fault for one in told for fault in done[one["participant_id"]]["faults"])
        sums = ", ".join(f"{count} {fault}" for fault, count in faults.most_common())
        more = "; cohort.json lists them all" if len(told) > _MOST_TOLD else ""
        lines.append(f"note: {len(told)} of {len(done)} are used though doubtful: {sums}{more}")
    return lines


def common_refusal(done: Outcomes) -> str:
    """What most are refused for of what they show, and one of them; nothing where nobody is."""
    refused = {
        name: outcome
        for name, outcome in sorted(done.items())
        if "reason" in outcome and "faults" in outcome
    }
    if not refused:
        return ""
    fault, count = Counter(one["faults"][0] for one in refused.values()).most_common(1)[0]
    name = next(name for name, one in refused.items() if one["faults"][0] == fault)
    return f": {count} {fault}, as {name}: {refused[name]['reason']}"


def with_findings(table: pd.DataFrame, done: Outcomes) -> pd.DataFrame:
    """The table with the columns `INSPECTED`, where anything was inspected."""
    seen = [done[name].get("inspection", {}) for name in table["participant_id"]]
    if not any(seen):
        return table
    names = dict(zip(INSPECTED, ("kind", "turned", "shifted", "cut"), strict=True))
    return table.assign(**{ours: [one.get(its) for one in seen] for ours, its in names.items()})


def _counted(kind: str, shown: Mapping[str, list[str]]) -> str:
    count = len(shown[kind])
    return f"{count} {(_ONE if count == 1 else _MANY)[kind]}"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
