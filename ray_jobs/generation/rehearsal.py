"""The dry run: how many shards and bytes, and how long, timed on one batch of a real worker."""

from __future__ import annotations

from typing import Any

import ray

from manifests.numbers import human_seconds
from ray_jobs.cluster import Cluster
from ray_jobs.errors import JobError
from ray_jobs.generation.cluster import actor_options, aws_environment, workers_of
from ray_jobs.generation.estimate import Measured, counted, estimate, in_bytes
from ray_jobs.generation.order import Order, Work
from ray_jobs.generation.printer import PrintJob
from ray_jobs.generation.remote import answer, start_printer

FEW_STEPS, MORE_STEPS = 2, 6


def outlook(order: Order, work: Work, job: PrintJob, cluster: Cluster) -> str:
    """The estimate in words."""
    workers = workers_of(cluster, order.options, work.device)
    reserve = actor_options(order.options, work.device)
    measured = measure(job, reserve)
    shards = {number: work.shards.indices(number) for number in range(work.shards.count)}
    found = estimate(
        shards, work.pending, batch_size=job.batch_size, actors=workers, measured=measured
    )
    return (
        f"  shards  {found.shards} of {work.shards.shard_size} volumes, {found.pending} to do\n"
        f"  size    about {in_bytes(found.bytes)}, {in_bytes(measured.bytes_per_volume)} a volume\n"
        f"  time    about {human_seconds(found.seconds)} with {counted(found.actors, 'worker')} "
        f"({measured.seconds_per_batch:.1f} s a batch of {job.batch_size} on {work.device})"
    )


def measure(job: PrintJob, reserve: dict[str, Any]) -> Measured:
    """Time a batch at a few steps and at more, and draw the line through both.

    Raises:
        JobError: the worker cannot load the model.
    """
    printer = start_printer(job, reserve=reserve, environment=aws_environment())
    refusal = answer(printer.load.remote())
    if refusal is not None:
        raise JobError(refusal, exit_code=1)
    answer(printer.time_batch.remote(1))  # the first pass also sets things up
    more = min(MORE_STEPS, job.steps)
    few = min(FEW_STEPS, more)
    few_seconds, _ = answer(printer.time_batch.remote(few))
    more_seconds, size = answer(printer.time_batch.remote(more))
    a_step = max(0.0, more_seconds - few_seconds) / max(1, more - few)
    ray.kill(printer)
    return Measured(
        seconds_per_batch=few_seconds + a_step * (job.steps - few), bytes_per_volume=size
    )
