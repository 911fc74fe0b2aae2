"""What `--dry-run` tells of a training: what it takes, and what it will leave."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ldm.training.config import TrainingConfig
from ldm.training.presets import Preset
from manifests.numbers import counted, human_bytes, human_left

if TYPE_CHECKING:
    from ldm.training.forecast.stages import Forecast, Stage

# What is asked of a GPU until a rate is measured, and the memory that GPUs are sold with, bytes.
OPERATIONS_A_SECOND = 25e12
GPU_MEMORY = tuple(size * 10**9 for size in (8, 12, 16, 24, 40, 48, 80, 141))
# Operations of a step that is tried on this machine's CPU: some seconds of them.
_MOST_TRIED = 1e12
_CHECKPOINT_BYTES = 16  # a parameter: weights, their average and two moments, float32


def tell(
    what: str,
    make: Callable[[Preset, TrainingConfig], Stage],
    preset: Preset,
    config: TrainingConfig,
    args: argparse.Namespace,
    samples: int,
) -> int:
    """Print it; nothing is claimed, made or computed on people. Returns the exit code.

    Args:
        what: is trained. make: its stage, see `ldm.training.forecast.stages`.
        args: of the verb: workers, gpu, cpus_per_worker, keep and out.
        samples: that there are to train on.
    """
    from ldm.training.forecast.stages import forecast

    share = -(-config.batch_size // args.workers)
    at_once = min(config.micro_batch or share, share)
    found = forecast(make, preset, config, at_once)
    for line in _lines(what, found, config, args, samples, at_once):
        print(line)
    if not args.gpu and found.operations * at_once <= _MOST_TRIED:
        print(_tried(make, preset, config, args, at_once))
    print("nothing was trained; leave out --dry-run to begin")
    return 0


def _lines(
    what: str,
    found: Forecast,
    config: TrainingConfig,
    args: argparse.Namespace,
    samples: int,
    at_once: int,
) -> Iterator[str]:
    passes = config.steps * config.batch_size / max(1, samples)
    yield (
        f"{what}: {found.parameters:,} parameters, {config.precision}; {config.steps:,} steps of "
        f"{config.batch_size}, {passes:.3g} passes over {counted(samples, 'sample')}"
    )
    fitting = [size for size in GPU_MEMORY if size > 1.15 * found.held]
    gpu = f"a GPU of {fitting[0] / 1e9:.0f} GB" if fitting else "no GPU there is"
    yield (
        f"memory: {found.held / 2**30:.2f} GiB a worker with {at_once} at once, calculated, beside "
        f"what convolutions work with: {gpu}"
    )
    work = found.operations * config.batch_size * config.steps
    seconds = work / OPERATIONS_A_SECOND / args.workers
    rate = "does 25 TFLOP" if args.workers == 1 else "do 25 TFLOP each"
    yield (
        f"work: {found.operations / 1e12:.3g} TFLOP a sample, {work / 1e15:.3g} PFLOP in all: "
        f"{human_left(seconds)} on {counted(args.workers, 'GPU')} that {rate} a second, which must "
        "first be seen"
    )
    checkpoints = args.keep + 1
    size = _CHECKPOINT_BYTES * found.parameters
    yield (
        f"leaves in {args.out}: the result, {counted(checkpoints, 'checkpoint')} of "
        f"{human_bytes(size)}, previews and curves every {config.save_every:,} steps"
    )


def _tried(
    make: Callable[[Preset, TrainingConfig], Stage],
    preset: Preset,
    config: TrainingConfig,
    args: argparse.Namespace,
    at_once: int,
) -> str:
    """How long a step takes on this machine, of numbers without meaning."""
    import torch

    from ldm.training.forecast.stages import autocast

    before = torch.get_num_threads()
    torch.set_num_threads(args.cpus_per_worker or before)
    try:
        stage = make(preset, config)
        times = []
        for _ in range(2):
            begun = time.perf_counter()
            with autocast(config.precision):
                loss = stage.loss(at_once)
            loss.backward()
            times.append(time.perf_counter() - begun)
        threads = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    seconds = times[-1] * config.batch_size / at_once / args.workers * config.steps
    return (
        f"tried here: {times[-1]:.2g} s for {at_once} on {counted(threads, 'thread')}: "
        f"{human_left(seconds)} for all steps, if nothing else runs"
    )
