"""The dry run: how many shards and bytes, and how long, timed on one batch of a real worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from manifests.numbers import counted, human_seconds
from ray_jobs.cluster import Cluster
from ray_jobs.credentials import aws_environment
from ray_jobs.errors import JobError
from ray_jobs.generation.driving.actors import answer, start_worker
from ray_jobs.generation.driving.resources import actor_options, workers_of
from ray_jobs.generation.plan import batches
from ray_jobs.generation.start import Request, Work, assignment
from ray_jobs.generation.words import subject
from ray_jobs.generation.worker.assignment import Assignment

FEW_STEPS, MORE_STEPS = 2, 6


def rehearse(request: Request, work: Work, cluster: Cluster) -> None:
    """Say what a run would make, timed on one batch of a real worker.

    Raises:
        JobError: the worker cannot load the model.
    """
    print("\n".join([subject(request), *request.source.told(work.shards.n)]))
    print(outlook(request, work, cluster))
    print(f"nothing was made; leave out --dry-run to make it: {request.store.uri}")


def outlook(request: Request, work: Work, cluster: Cluster) -> str:
    """The estimate in words."""
    batch_size = work.recipe.batch_size
    workers = workers_of(cluster, request.options, work.device)
    reserve = actor_options(request.options, work.device)
    measured = measure(assignment(request, work), reserve)
    shards = {number: work.shards.indices(number) for number in range(work.shards.count)}
    found = estimate(shards, work.pending, batch_size=batch_size, actors=workers, measured=measured)
    return (
        f"  shards  {found.shards} of {work.shards.shard_size} volumes, {found.pending} to do\n"
        f"  size    about {in_bytes(found.bytes)}, {in_bytes(measured.bytes_per_volume)} a volume\n"
        f"  time    about {human_seconds(found.seconds)} with {counted(found.actors, 'worker')} "
        f"({measured.seconds_per_batch:.1f} s a batch of {batch_size} on {work.device})"
    )


def measure(told: Assignment, reserve: dict[str, Any]) -> Measured:
    """Time a batch at a few steps and at more, and draw the line through both.

    Raises:
        JobError: the worker cannot load the model.
    """
    worker = start_worker(told, reserve=reserve, environment=aws_environment())
    refusal = answer(worker.load.remote())
    if refusal is not None:
        raise JobError(refusal, exit_code=1)
    answer(worker.time_batch.remote(1))  # the first pass also sets things up
    steps = told.recipe.steps
    more = min(MORE_STEPS, steps)
    few = min(FEW_STEPS, more)
    few_seconds, _ = answer(worker.time_batch.remote(few))
    more_seconds, size = answer(worker.time_batch.remote(more))
    a_step = max(0.0, more_seconds - few_seconds) / max(1, more - few)
    ray.kill(worker)
    return Measured(seconds_per_batch=few_seconds + a_step * (steps - few), bytes_per_volume=size)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one worker showed on one batch.

    Attributes:
        seconds_per_batch: of a full batch, at the asked number of steps.
        bytes_per_volume: of a compressed volume.
    """

    seconds_per_batch: float
    bytes_per_volume: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The outlook of a run.

    Attributes:
        shards: of the whole release.
        pending: shards still to do.
        volumes: that the pending shards will add or rewrite.
        bytes: that those volumes take in the store.
        actors: that can work at once.
        seconds: until the last shard is committed, without the start of the workers.
    """

    shards: int
    pending: int
    volumes: int
    bytes: int
    actors: int
    seconds: float


def estimate(
    shards: Mapping[int, range],
    pending: Collection[int],
    *,
    batch_size: int,
    actors: int,
    measured: Measured,
) -> Estimate:
    """The outlook, each worker taking the next shard as it becomes free.

    Args:
        shards: the indices of every shard of the release.
        pending: numbers of the shards still to do.
        batch_size: volumes of a batch; a batch always runs full.
        actors: workers asked for.
        measured: the rate of one worker.
    """
    free_at = [0.0] * max(1, min(actors, len(pending)))
    for shard in sorted(pending):
        first = free_at.index(min(free_at))
        free_at[first] += len(batches(shards[shard], batch_size)) * measured.seconds_per_batch
    volumes = sum(len(shards[shard]) for shard in pending)
    return Estimate(
        shards=len(shards),
        pending=len(pending),
        volumes=volumes,
        bytes=round(volumes * measured.bytes_per_volume),
        actors=len(free_at) if pending else 0,
        seconds=max(free_at),
    )


def in_bytes(count: float) -> str:
    """A number of bytes for a person, in powers of ten.

    >>> [in_bytes(b) for b in (12, 4_200, 371_000_000_000)]
    ['12 B', '4.2 kB', '371.0 GB']
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
