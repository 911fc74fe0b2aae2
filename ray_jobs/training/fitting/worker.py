"""What every training worker does: resume, step, validate, save, report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ldm.networks.precision import PRECISIONS, autocast
from ldm.training.config import TrainingConfig
from ldm.training.loop import Step, Task, TrainingState, train
from ray_jobs.training.fitting.checkpoints import SCORE, Kept, ordered
from ray_jobs.training.fitting.last_words import own
from ray_jobs.training.fitting.monitor import LOOK, NOTHING, SAVE, STOP, Line
from ray_jobs.training.fitting.pulse import VALIDATES, Pulse
from ray_jobs.work_folder import WorkFolder

# (averaged network, rank, world, device) -> sums, among them "count", that add up over workers
Validate = Callable[[nn.Module, int, int, torch.device], dict[str, float]]
# (averaged network, device) -> PNG bytes
Preview = Callable[[nn.Module, torch.device], bytes]
# (what validation found) -> the figure by which checkpoints are compared, the lower the better
Score = Callable[[dict[str, float]], float]
# (state, task, and by keyword wrapped, rank, world and doing, as of `train`) -> its steps
Train = Callable[..., Iterator[Step]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a fit tells each of its workers of itself.

    Attributes:
        kept: the run's checkpoints.
        threads: of a worker on CPUs.
        monitor: the driver's ear.
        save_seconds: between two checkpoints, at most.
        patience_seconds: for a step, or a validation.
    """

    kept: Kept
    threads: int
    monitor: Any
    save_seconds: float
    patience_seconds: float

    @property
    def out(self) -> WorkFolder:
        """The run's folder."""
        return self.kept.out


def run_worker(
    network: nn.Module,
    config: TrainingConfig,
    task: Task,
    validate: Validate,
    preview: Preview,
    place: Place,
    *,
    score: Score,
    critic: nn.Module | None = None,
    steps: Train = train,
) -> None:
    """Train `network`, by turns with `critic` if any, in a Ray Train worker until `config.steps`.

    Resumes from the run's last checkpoint. Every `save_every` steps and at the end all workers
    validate together and worker 0 saves and draws a preview. In between it saves where the last
    checkpoint is too old, a machine is about to be taken away, or the driver wants to stop.
    """
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(place.threads)
    state = TrainingState(network, config, device, critic)
    history = _resume(state, place.kept, rank)
    wrapped = {
        name: ray.train.torch.prepare_model(player.network, move_to_device=False)
        for name, player in state.players.items()
    }
    line = Line(place.monitor, place.save_seconds) if rank == 0 else None
    if line:
        weights = sum(weight.numel() for weight in network.parameters())
        about = {"device": _name(device), "world": world, "parameters": weights}
        line.tell({"begun": state.step, "samples": task.count, **about})
    place.monitor.enlist.remote(rank, own())
    pulse = Pulse(place.monitor, rank, place.patience_seconds)
    pulse.step(state.step)
    warned = False  # that a machine goes; saved once is enough
    for step in steps(state, task, wrapped=wrapped, rank=rank, world=world, doing=pulse.doing):
        pulse.step(step.number)
        if line:
            line.tell({"step": step.number, "losses": step.losses})
        wish = _agreed(line.wish() if line else NOTHING)
        if wish == LOOK and not warned and ray.train.get_preemption_info() is not None:
            wish, warned = SAVE, True
        if step.number % config.save_every == 0 or step.number == config.steps:
            pulse.doing(VALIDATES)
            found, image = _validated(state, step, validate, preview, rank, world)
            history.append({"step": step.number, **found})
            if line:
                line.tell({"validated": step.number, "found": found, "image": image})
            _save(state, history, line, found, score)
        elif wish in (SAVE, STOP):
            _save(state, history, line)
        if wish == STOP:
            break
        pulse.step(step.number)
    pulse.end()
    if line:
        line.close()


def _resume(state: TrainingState, kept: Kept, rank: int) -> list[dict[str, float]]:
    """Go on from the run's last checkpoint, if any; its history."""
    import ray.train

    history: list[dict[str, float]] = []
    resumed = ray.train.get_checkpoint()
    if resumed is not None:
        with resumed.as_directory() as folder:
            history = state.restore(Path(folder))["history"]
    elif left := kept.last():
        known = kept.ray(left)
        with known.as_directory() as folder:
            meta = state.restore(Path(folder))
        history = meta["history"]
        metrics = {"step": state.step, SCORE: ordered(meta.get(SCORE))}
        ray.train.report(metrics, checkpoint=known if rank == 0 else None)
    return history


def _validated(
    state: TrainingState, step: Step, validate: Validate, preview: Preview, rank: int, world: int
) -> tuple[dict[str, float], bytes]:
    """What all workers' validation found of the averaged weights; worker 0's preview."""
    device = state.device
    with autocast(device.type, PRECISIONS[state.config.precision]):
        found = add_up(validate(state.average, rank, world, device))
        image = preview(state.average, device) if rank == 0 else b""
    sums = {name: value * step.samples for name, value in step.losses.items()}
    found |= {f"train_{k}": v for k, v in add_up({**sums, "count": step.samples}).items()}
    return found, image


def _save(
    state: TrainingState,
    history: list[dict[str, float]],
    line: Line | None,
    found: dict[str, float] | None = None,
    score: Score | None = None,
) -> None:
    """Worker 0 writes a checkpoint; Ray Train moves it into the run's folder beside the training.

    One that was not validated has no score, and is kept while it is the last. Ray Train takes about
    one report in two seconds: where they come faster the training waits for it, or a run that is
    told to stop would go on with what has piled up.
    """
    import ray.train
    from ray.train import CheckpointUploadMode as Upload

    scored = None if found is None or score is None else score(found)
    metrics = {"step": state.step, SCORE: ordered(scored), **(found or {})}
    if line is None:
        ray.train.report(metrics)
        return
    folder = tempfile.mkdtemp(prefix="brainpress-checkpoint-")
    state.save(Path(folder), {"history": history, SCORE: scored})
    ray.train.report(
        metrics,
        checkpoint=ray.train.Checkpoint.from_directory(folder),
        checkpoint_upload_mode=Upload.ASYNC if line.calm else Upload.SYNC,
    )
    line.saved()


def _agreed(wish: int) -> int:
    """Worker 0's wish, for all workers after the same step."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return wish
    if torch.distributed.get_world_size() == 1:
        return wish
    return int(_reduce(torch.tensor([wish], dtype=torch.int64), torch.distributed.ReduceOp.MAX))


def add_up(sums: dict[str, float]) -> dict[str, float]:
    """Means over all workers of sums that hold their own "count"."""
    values = torch.tensor(list(sums.values()), dtype=torch.float64)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        values = _reduce(values, torch.distributed.ReduceOp.SUM)
    totals = dict(zip(sums, values.tolist(), strict=True))
    count = totals.pop("count")
    return {name: total / count for name, total in totals.items()} if count else {}


def _reduce(values: torch.Tensor, how: Any) -> torch.Tensor:
    on_gpu = torch.distributed.get_backend() == "nccl"
    moved = values.cuda() if on_gpu else values
    torch.distributed.all_reduce(moved, op=how)
    return moved.cpu()


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
