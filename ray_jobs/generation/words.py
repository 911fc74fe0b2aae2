"""What a run says to whoever watches it: what it will make, and what is missing when it ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from manifests.ledger import ShardPlan
from manifests.numbers import counted, ranges
from ray_jobs.generation.driving.events import End, Outcome
from ray_jobs.generation.driving.policy import Policy
from ray_jobs.generation.options import Device
from ray_jobs.generation.start import Request, Work
from ray_jobs.generation.worker.assignment import Again, Why

GO_ON = "run the same command to go on"


def why_incomplete(
    end: End,
    policy: Policy,
    work: Work,
    done: int,
    of: int,
    *,
    by: str = "",
    kept: Mapping[int, int] | None = None,
) -> str:
    """The line that a run ends with when shards are left.

    Args:
        done, of: volumes.
        by: what it was stopped by.
        kept: samples of shards that were not finished, which nobody draws again; by shard.
    """
    missing = [shard for shard in work.pending if shard not in policy.committed]
    begun = {shard: count for shard, count in (kept or {}).items() if shard in missing}
    state = f"{done} of {of} volumes are done"
    if begun:
        state += f" and {sum(begun.values())} more, of {counted(len(begun), 'shard')} begun, kept"
    if missing:
        state += f", {shards_in_words(missing, work.shards)} missing"
    if end.outcome is Outcome.STOPPED:
        return f"stopped by {by}; {state}; {GO_ON}"
    if end.outcome is Outcome.STUCK:
        return f"{end.reason} ({state}; when that is mended, {GO_ON})"
    reasons = "; ".join(f"shard {s}: {why}" for s, why in sorted(policy.given_up.items())[:3])
    more = ", ..." if len(policy.given_up) > 3 else ""
    return f"given up: {reasons}{more}; {state}; {GO_ON}"


def shards_in_words(shards: list[int], plan: ShardPlan) -> str:
    """`shards 3, 5-7 (samples 24-31, 40-63)`"""
    samples = (index for shard in shards for index in plan.indices(shard))
    word = "shard" if len(shards) == 1 else "shards"
    return f"{word} {ranges(shards)} (samples {ranges(samples)})"


def announce(request: Request, work: Work, workers: int, again: Again | None = None) -> None:
    """What will be made, by whom, and what of it is there already."""
    shards = work.shards
    kind = "GPU" if work.device is Device.CUDA else "one core"
    if again is not None:
        what = {Why.REDRAW: "failed sample", Why.REPAIR: "lost image", Why.RECHECK: "sample"}
        say(
            f"{counted(len(again.attempts), what[again.why])} of {request.store.uri} to draw "
            "again, in "
            f"{counted(len(work.pending), 'shard')}: {counted(workers, 'worker')}, {kind} each, "
            f"{work.fields['precision']}"
        )
        return
    done = f"{work.already} of {shards.n} done before, " if work.already else ""
    fixed = "".join(f", {name} = {value}" for name, value in request.source.fixed.items())
    say(
        f"{subject(request)}{fixed}\n"
        f"to {request.store.uri}: {done}{counted(len(work.pending), 'shard')} of "
        f"{shards.shard_size} to do, {counted(workers, 'worker')}, {kind} each, "
        f"{work.fields['precision']}"
    )
    for line in request.source.told(shards.n):
        say(line)


def subject(request: Request) -> str:
    """`16 volumes of 64 x 80 x 64 voxels, 2.5 mm: model demo (a demonstration), seed 0, ...`"""
    grid, options = request.description.grid, request.options
    demo = " (a demonstration)" if request.description.card.get("demo") else ""
    shape = " x ".join(map(str, grid.shape))
    how = request.sampling.text if request.sampling else "unconditional, one pass"
    return (
        f"{counted(options.n, 'volume')} of {shape} voxels, {grid.spacing:g} mm: "
        f"model {request.description.name}{demo}, seed {options.seed}, {how}"
    )


def say(text: str) -> None:
    """To the person who watches, beside the progress bar."""
    print(text, file=sys.stderr, flush=True)
