"""What compressing, hashing, uploading and the manifest cost beside sampling: one worker's rates.

    python -m tests.benchmarks.overlap                  (a simulated GPU, 0.5 s a volume)
    python -m tests.benchmarks.overlap --model demo     (real sampling, on one core)

A worker prints shards as in the job, onto an S3 server on this machine; then a model that computes
draws the same volumes with nothing else. The simulated GPU, whose time is fixed, draws volumes of
the paper's size.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ray_jobs.generation.options import IN_HAND, WRITERS, Device, Options
from ray_jobs.generation.plan import batches
from ray_jobs.generation.start import assignment, begin, check, fields_of
from ray_jobs.generation.worker.drawing import volumes_of
from ray_jobs.generation.worker.environment import one_thread
from ray_jobs.generation.worker.tally import Stage
from ray_jobs.generation.worker.worker import Worker
from tests.benchmarks.simulated import LOADER, write_model
from tests.servers import S3Server

PAPER_SHAPE = (160, 224, 160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="of a kind that computes; by default a simulated GPU")
    parser.add_argument("--seconds", type=float, default=0.5, help="of the GPU, for a volume")
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--writers", type=int)
    args = parser.parse_args()
    with S3Server.running("overlap") as (server, folder):
        print(measure(args, folder, f"s3://{server.make_bucket()}/release"))


def measure(args: argparse.Namespace, folder: Path, out: str) -> str:
    device = Device.CPU if args.model else Device.CUDA
    options = Options(
        n=args.n,
        out=out,
        model=args.model
        or str(write_model(folder / "m", seconds_per_volume=args.seconds, shape=PAPER_SHAPE)),
        device=device,
        precision="fp32" if args.model else "bf16",
        steps=args.steps,
        writers=args.writers,
        compile="off",
    )
    if not args.model:
        options = replace(options, loader=LOADER, shard_size=32)
    request = check(options)
    work = begin(request, fields_of(request, device=device))
    worker = Worker(assignment(request, work), {})
    refusal = worker.load()
    assert refusal is None, refusal
    worker.time_batch(options.steps or 1)  # the first pass also sets things up
    cpu, begun = time.process_time(), time.monotonic()
    with ThreadPoolExecutor(IN_HAND[device]) as pool:  # as the driver hands shards out
        reports = list(pool.map(worker.print_shard, range(work.shards.count)))
    printed, cpu = time.monotonic() - begun, time.process_time() - cpu
    sampled = sum(report.tally.seconds[Stage.DRAW] for report in reports)
    alone = ""
    if args.model:
        sampled, sampled_cpu = sample(worker)
        alone = f", sampling alone {sampled_cpu:.0f}"
    stages: dict[str, float] = {}
    for report in reports:
        for stage, seconds in report.tally.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    size = sum(report.tally.bytes for report in reports)
    told = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages.items())
    writers = options.writers or WRITERS[device]
    return (
        f"{args.n} volumes of {size / args.n / 1e6:.2f} MB, {writers} writers: end to end "
        f"{args.n / printed:.3f} volumes a second, sampling alone {args.n / sampled:.3f}: "
        f"{100 * sampled / printed:.1f} %\n{told}; {cpu:.0f} CPU s of the worker{alone}"
    )


def sample(worker: Worker) -> tuple[float, float]:
    """Seconds, and CPU seconds, of drawing every batch and dropping it."""
    told, model = worker.assignment, worker._model
    assert model is not None
    cpu, begun = time.process_time(), time.monotonic()
    with one_thread(told.device):
        for batch in batches(range(told.shards.n), told.recipe.batch_size):
            volumes_of(model, told.recipe, batch, told.recipe.covariates(batch))
    return time.monotonic() - begun, time.process_time() - cpu


if __name__ == "__main__":
    main()
