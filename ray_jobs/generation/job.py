"""A generate run from beginning to end: check, plan, print, finish, and say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from manifests.changes.conditional import check_conditional_writes
from ray_jobs.cluster import Cluster
from ray_jobs.credentials import aws_environment
from ray_jobs.errors import JobError
from ray_jobs.generation.driving.events import Outcome
from ray_jobs.generation.driving.policy import Policy, PolicyConfig
from ray_jobs.generation.driving.resources import (
    actor_options,
    connect,
    device_of,
    gpus_by_kind,
    kinds_told,
    workers_of,
)
from ray_jobs.generation.driving.shared_folder import SharedFolder
from ray_jobs.generation.driving.vigil import Vigil, first_seconds
from ray_jobs.generation.finish import COMPLETE, INCOMPLETE, finish, nothing_left
from ray_jobs.generation.options import IN_HAND, Device, Options
from ray_jobs.generation.plan import kind_in
from ray_jobs.generation.start import Request, Work, assignment, begin, check, fields_of
from ray_jobs.generation.words import announce, say, why_incomplete
from ray_jobs.generation.worker.assignment import Again, ShardReport
from ray_jobs.interrupts import Interrupts
from ray_jobs.progress import Progress


def generate(options: Options, *, dry_run: bool = False) -> int:
    """Make the release that `options` ask for, as far as it is not there yet.

    Returns:
        0 when every sample has its volume, 1 when some do not.

    Raises:
        JobError, LdmError, ReleaseError: in one line, what is wrong with the options, the
            model, the store or the cluster, or why the release is not complete; after a signal
            with exit code 130 (Ctrl-C) or 143 (SIGTERM).
    """
    started = time.monotonic()
    interrupts = Interrupts(options.grace)
    with interrupts.caught():
        request = check(options)
        if not dry_run:
            check_conditional_writes(request.store)
        work = None
        if request.stored is not None:  # the plan is known without a cluster
            fields = fields_of(request, device=Device.CPU)
            work = begin(request, fields, write=not dry_run)
            if not work.pending:
                return nothing_left(request, work)
        with ray_cluster(options, interrupts) as cluster:
            if work is None:
                work = begin(request, new_fields(request, cluster), write=not dry_run)
            if dry_run:
                from ray_jobs.generation.dry_run import rehearse

                rehearse(request, work, cluster)
                return COMPLETE
            made = sum(report.rows for report in drive(request, work, cluster, interrupts))
        return finish(request, work, made=made, seconds=time.monotonic() - started)


@contextmanager
def ray_cluster(options: Options, interrupts: Interrupts) -> Iterator[Cluster]:
    """Ray, for the time of a run."""
    try:
        cluster = connect(options)  # which silences Ray before anybody imports it
        interrupts.take_over()
        yield cluster
    finally:
        import ray

        ray.shutdown()


def new_fields(request: Request, cluster: Cluster) -> dict[str, Any]:
    """The fields of a new plan; a worker is asked what its device offers."""
    options = request.options
    device = device_of(cluster, options.device)
    on_gpu = device is Device.CUDA
    if options.device is None and not cluster.own:
        say_what_it_is_pinned_to(device)
    compiling = options.compile == "on" or (options.compile == "auto" and on_gpu)
    from ray_jobs.generation.driving.actors import look_at_device

    reserve = actor_options(options, device)
    native = look_at_device(device, reserve, aws_environment(), compiling=compiling)
    if options.compile == "on" and native.not_compiled:
        raise JobError(
            f"--compile on: torch.compile does not work on a worker ({native.not_compiled}); "
            "install what it needs, or leave --compile out"
        )
    return fields_of(request, device=device, native=native)


def say_what_it_is_pinned_to(device: Device) -> None:
    """Of a new release on a cluster without a GPU now, whose device nobody asked for."""
    import ray

    if gpus_by_kind(ray.nodes()):
        return
    if device is Device.CUDA:
        say(
            "no GPU is there yet, and the cluster's autoscaler can bring some: this release is "
            "computed on GPUs (--device cpu for CPUs)"
        )
    else:
        say(
            "the cluster has no GPU: all of this release is computed on CPUs, as its plan says; "
            "for GPUs that join later, begin it with --device cuda and --actors"
        )


def drive(
    request: Request,
    work: Work,
    cluster: Cluster,
    interrupts: Interrupts,
    *,
    again: Again | None = None,
) -> list[ShardReport]:
    """Print the pending shards; what became of each.

    Args:
        again: what of those shards is drawn again, where they are printed already.

    Raises:
        JobError: some shards are not done: exit code 1, or where a signal stopped the run 128 and
            its number.
    """
    import ray

    from ray_jobs.generation.driving.actors import room_for
    from ray_jobs.generation.driving.driver import Driver

    options = request.options
    workers = min(workers_of(cluster, options, work.device), len(work.pending))
    announce(request, work, workers, again)
    if work.device is Device.CUDA and (line := kinds_told(gpus_by_kind(ray.nodes()), options)):
        say(line)
    reserve = actor_options(options, work.device)
    room, devices = room_for(reserve)
    config = PolicyConfig(
        workers=workers,
        room=room,
        devices=max(1, devices),
        grows=options.actors is None,
        in_hand=IN_HAND[work.device],
    )
    already, total = work.already, work.shards.n
    if again is not None:
        already, total = 0, len(again.attempts)
    progress = Progress(total, already, thing="volume")
    driver = Driver(
        Policy(work.pending, config),
        assignment(request, work, again),
        reserve=reserve,
        environment=aws_environment(),
        progress=progress,
        interrupts=interrupts,
        kind=kind_in(work.fields),
        vigil=Vigil(
            options.worker_patience,
            first_seconds=first_seconds(
                options.worker_patience,
                passes=work.recipe.steps * work.recipe.batch_size,
                device=work.device,
            ),
            batch=work.recipe.batch_size,
            waiting_seconds=0.0 if request.store.is_local else 2 * options.storage_patience,
        ),
        # Of the Ray that a run starts for itself there is one machine alone, for good.
        folder=SharedFolder(request.store) if request.store.is_local and not cluster.own else None,
    )
    try:
        end = driver.run()
    finally:
        progress.close()
    reports = list(driver.reports.values())
    if end.outcome is not Outcome.COMPLETE:
        done = already + sum(report.rows for report in reports)
        why = why_incomplete(
            end, driver.policy, work, done, total, by=interrupts.name, kept=driver.kept
        )
        stopped = end.outcome is Outcome.STOPPED
        raise JobError(why, exit_code=interrupts.exit_code if stopped else INCOMPLETE)
    return reports
