"""A generate run from beginning to end: check, plan, print, finish, and say so."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ldm.models.description import ONE_PASS
from manifests.errors import ReleaseError, StorageError
from manifests.format.release_json import read_release
from manifests.ledger import ShardPlan
from manifests.ledger.finalise import finalise
from manifests.numbers import human_seconds, ranges
from ray_jobs.cluster import Cluster
from ray_jobs.errors import JobError
from ray_jobs.generation.cluster import (
    actor_options,
    aws_environment,
    connect,
    device_of,
    refuse_scattered,
    workers_of,
)
from ray_jobs.generation.decisions import End, Outcome
from ray_jobs.generation.environment import Native
from ray_jobs.generation.estimate import counted
from ray_jobs.generation.finish import SAMPLES_KEY, example_query, previews, release_document
from ray_jobs.generation.interrupts import Interrupts
from ray_jobs.generation.order import Order, Work, begin, fields_of, take
from ray_jobs.generation.plan import IN_HAND, WRITERS, Device, Options, sampling_in, sampling_of
from ray_jobs.generation.policy import Policy, PolicyConfig
from ray_jobs.generation.printer import PrintJob
from ray_jobs.generation.progress import Progress
from ray_jobs.generation.vigil import Vigil

COMPLETE, INCOMPLETE = 0, 1
GO_ON = "run the same command to go on"


def generate(options: Options, *, dry_run: bool = False) -> int:
    """Make the release that `options` ask for, as far as it is not there yet.

    Returns:
        0 when every sample has its volume, 1 when some do not.

    Raises:
        JobError, LdmError, ReleaseError: in one line, what is wrong with the options, the
            model, the store or the cluster, or why the release is not complete.
    """
    started = time.monotonic()
    interrupts = Interrupts()
    with interrupts.caught():
        order = take(options)
        work = None
        if order.stored is not None:  # the plan is known without a cluster
            fields = fields_of(order, device=Device.CPU)
            work = begin(order, fields, write=not dry_run)
            if not work.pending:
                return nothing_left(order, work)
        with ray_cluster(options, interrupts) as cluster:
            if order.store.is_local:
                refuse_scattered(options.out, cluster)
            if work is None:
                work = begin(order, new_fields(order, cluster), write=not dry_run)
            if dry_run:
                return rehearse(order, work, cluster)
            made = print_all(order, work, cluster, interrupts)
        return finish(order, work, made=made, seconds=time.monotonic() - started)


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


def new_fields(order: Order, cluster: Cluster) -> dict[str, Any]:
    """The fields of a new plan; a worker is asked what its device offers."""
    options = order.options
    device = device_of(cluster, options.device)
    on_gpu = device is Device.CUDA
    compiling = options.compile == "on" or (options.compile == "auto" and on_gpu)
    native = Native()
    if options.precision == "auto" or compiling or (on_gpu and options.batch_size is None):
        from ray_jobs.generation.remote import look_at_device

        reserve = actor_options(options, device)
        native = look_at_device(device, reserve, aws_environment(), compiling=compiling)
    if options.compile == "on" and native.not_compiled:
        raise JobError(
            f"--compile on: torch.compile does not work on a worker ({native.not_compiled}); "
            "install what it needs, or leave --compile out"
        )
    return fields_of(order, device=device, native=native)


def print_job(order: Order, work: Work) -> PrintJob:
    """What every worker is told."""
    options, fields = order.options, work.fields
    return PrintJob(
        out=order.store.uri,
        model=order.model,
        model_fingerprint=fields["model_fingerprint"],
        device=fields["device"],
        precision=fields["precision"],
        compiled=fields.get("compiled", False),
        seed=fields["seed"],
        **sampling_in(fields),
        attempts=fields["attempts"],
        batch_size=fields["batch_size"],
        shards=work.shards,
        source=order.source,
        writers=options.writers or WRITERS[work.device],
        storage_patience_seconds=options.storage_patience,
        loader=options.loader,
    )


def print_all(order: Order, work: Work, cluster: Cluster, interrupts: Interrupts) -> int:
    """Print the pending shards; how many samples that made.

    Raises:
        JobError: some shards are not done (exit code 1).
    """
    from ray_jobs.generation.driver import Driver

    options = order.options
    workers = min(workers_of(cluster, options, work.device), len(work.pending))
    announce(order, work, workers)
    config = PolicyConfig(
        workers=workers, in_hand=IN_HAND[work.device], max_failures_in_a_row=2 * workers + 4
    )
    progress = Progress(work.shards.n, work.already)
    driver = Driver(
        Policy(work.pending, config),
        print_job(order, work),
        reserve=actor_options(options, work.device),
        environment=aws_environment(),
        progress=progress,
        interrupts=interrupts,
        vigil=Vigil(
            options.worker_patience,
            waiting_seconds=0.0 if order.store.is_local else 2 * options.storage_patience,
        ),
    )
    try:
        end = driver.run()
    finally:
        progress.close()
    made = sum(report.rows for report in driver.reports.values())
    if end.outcome is not Outcome.COMPLETE:
        raise JobError(why_incomplete(end, driver.policy, work, made), exit_code=INCOMPLETE)
    return made


def why_incomplete(end: End, policy: Policy, work: Work, made: int) -> str:
    """The line that a run ends with when shards are left."""
    missing = [shard for shard in work.pending if shard not in policy.committed]
    state = f"{work.already + made} of {work.shards.n} volumes are done"
    if missing:
        state += f", {shards_in_words(missing, work.shards)} missing"
    if end.outcome is Outcome.STOPPED:
        return f"stopped; {state}; {GO_ON}"
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


def announce(order: Order, work: Work, workers: int) -> None:
    """What will be made, by whom, and what of it is there already."""
    shards = work.shards
    kind = "GPU" if work.device is Device.CUDA else "one core"
    done = f"{work.already} of {shards.n} done before, " if work.already else ""
    fixed = "".join(f", {name} = {value}" for name, value in order.source.fixed.items())
    say(
        f"{subject(order)}{fixed}\n"
        f"to {order.store.uri}: {done}{counted(len(work.pending), 'shard')} of "
        f"{shards.shard_size} to do, {counted(workers, 'worker')}, {kind} each, "
        f"{work.fields['precision']}"
    )


def subject(order: Order) -> str:
    """`16 volumes of 64 x 80 x 64 voxels, 2.5 mm: model demo (a demonstration), seed 0, ...`"""
    grid, options = order.description.grid, order.options
    demo = " (a demonstration)" if order.description.card.get("demo") else ""
    shape = " x ".join(map(str, grid.shape))
    how = "unconditional, one pass"
    if options.sampler != ONE_PASS:
        how = sampling_of(options, order.description.sampling).text
    return (
        f"{counted(options.n, 'volume')} of {shape} voxels, {grid.spacing:g} mm: "
        f"model {order.description.name}{demo}, seed {options.seed}, {how}"
    )


def nothing_left(order: Order, work: Work) -> int:
    """Every shard is done; close the release if the run that did them could not."""
    try:
        release = read_release(order.store)
        complete = release["counts"]["samples"] >= work.shards.n
    except ReleaseError:
        complete = False
    if not complete:
        return finish(order, work, made=0, seconds=0)
    counts = release["counts"]
    print(f"nothing left to do: {order.store.uri} is complete with {counts['samples']} samples")
    return told_failures(counts["failed"], counts["samples"], order.store.uri)


def finish(order: Order, work: Work, *, made: int, seconds: float) -> int:
    """Close the release and say where everything is."""
    options = order.options
    store = order.store.patient(options.storage_patience)
    document = release_document(
        order.description,
        name=options.name,
        license=options.license,
        authors=options.authors,
        fingerprint=work.fingerprint,
        fields=work.fields,
    )
    try:
        pictures = previews(store, work.shards, order.description.schema)
        counts = finalise(store, work.shards, document, extra=pictures)["counts"]
    except StorageError as error:
        raise JobError(
            f"{error} (all {work.shards.n} volumes are done, the release's manifest and metadata "
            f"are missing; when that is mended, {GO_ON})",
            exit_code=INCOMPLETE,
        ) from error
    took = f", {made} of them made now in {human_seconds(seconds)}" if made else ""
    print(f"{counts['samples']} samples{took}: {store.uri}")
    if pictures:
        print(f"  pictures  {store.uri}/{SAMPLES_KEY}")
    print(f"  manifest  {store.uri}/manifest.parquet")
    where = example_query(order.description.schema)
    print(f'  query it  brainpress query {shlex.quote(options.out)} --where "{where}"')
    return told_failures(counts["failed"], counts["samples"], store.uri)


def told_failures(failed: int, samples: int, uri: str) -> int:
    """The exit code, and the line that explains it where samples failed for good."""
    if not failed:
        return COMPLETE
    say(
        f"brainpress generate: {failed} of {samples} samples failed the quality check at every "
        f"attempt; see them with: brainpress query {shlex.quote(uri)} --where \"status = 'failed'\""
    )
    return INCOMPLETE


def rehearse(order: Order, work: Work, cluster: Cluster) -> int:
    """Say what a run would make, timed on one batch of a real worker."""
    from ray_jobs.generation.rehearsal import outlook

    print(subject(order))
    print(outlook(order, work, print_job(order, work), cluster))
    print(f"nothing was made; leave out --dry-run to make it: {order.store.uri}")
    return COMPLETE


def say(text: str) -> None:
    """To the person who watches, beside the progress bar."""
    print(text, file=sys.stderr, flush=True)
