"""What every training worker does: resume, step, validate, save, report."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ldm.errors import LdmError
from ldm.networks.precision import PRECISIONS, autocast
from ldm.training import checkpoint
from ldm.training.adversarial import CriticWatch
from ldm.training.config import TrainingConfig
from ldm.training.loop import Step, Task, TrainingState, train

LOG = "log.jsonl"
# Seconds between two lines of the log.
LOG_EVERY = 5.0
BY_BAND = re.compile(r"_\d\.\d\d_\d\.\d\d$")  # figures by band of frequency: curves, not words

CRITIC_LOSS = "critic loss"  # among a step's losses, where there is a critic

# (averaged network, rank, world, device) -> sums, among them "count", that add up over workers
Validate = Callable[[nn.Module, int, int, torch.device], dict[str, float]]
# (averaged network, device) -> PNG bytes
Preview = Callable[[nn.Module, torch.device], bytes]


def run_worker(
    network: nn.Module,
    config: TrainingConfig,
    task: Task,
    validate: Validate,
    preview: Preview,
    out: Path,
    threads: int,
    critic: nn.Module | None = None,
) -> None:
    """Train `network`, by turns with `critic` if any, in a Ray Train worker until `config.steps`.

    Resumes from the run's last checkpoint. Every `save_every` steps and at the end all workers
    validate together and worker 0 saves, draws a preview and writes the curves.

    Args:
        out: the run's folder; Ray Train keeps the checkpoints in `checkpoints/`.
    """
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(threads)
    state = TrainingState(network, config, device, critic)
    history: list[dict[str, float]] = []
    resumed = ray.train.get_checkpoint()
    if resumed is not None:
        with resumed.as_directory() as folder:
            history = state.restore(Path(folder))["history"]
    elif left := last_complete(out / "checkpoints" / context.get_experiment_name()):
        history = state.restore(left)["history"]
        known = ray.train.Checkpoint.from_directory(left) if rank == 0 else None
        ray.train.report({"step": state.step}, checkpoint=known)
    wrapped = {
        name: ray.train.torch.prepare_model(player.network, move_to_device=False)
        for name, player in state.players.items()
    }
    curves = Curves(out, state.step, config) if rank == 0 else None
    for step in train(state, task, wrapped=wrapped, rank=rank, world=world):
        if curves:
            curves.step(step)
        if step.number % config.save_every and step.number != config.steps:
            continue
        with autocast(device.type, PRECISIONS[config.precision]):
            found = add_up(validate(state.average, rank, world, device))
            image = preview(state.average, device) if rank == 0 else b""
        found |= {f"train_{k}": v for k, v in add_up({**step.losses, "count": 1.0}).items()}
        history.append({"step": step.number, **found})
        with tempfile.TemporaryDirectory() as folder:
            saved = None
            if curves:
                curves.validation(step.number, found, image)
                state.save(Path(folder), {"history": history})
                saved = ray.train.Checkpoint.from_directory(folder)
            ray.train.report({"step": step.number, **found}, checkpoint=saved)
    if curves:
        curves.close()


def last_complete(run: Path) -> Path | None:
    """The newest complete checkpoint in Ray Train's folder of a run, also one it has not listed:
    the run was killed after the checkpoint was written, or while the list was."""
    for folder in sorted(run.glob("checkpoint_*/"), reverse=True):
        with suppress(LdmError):
            checkpoint.read(folder)
            return folder
    return None


def add_up(sums: dict[str, float]) -> dict[str, float]:
    """Means over all workers of sums that hold their own "count"."""
    values = torch.tensor(list(sums.values()), dtype=torch.float64)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        values = _reduce(values)
    totals = dict(zip(sums, values.tolist(), strict=True))
    count = totals.pop("count")
    return {name: total / count for name, total in totals.items()} if count else {}


def _reduce(values: torch.Tensor) -> torch.Tensor:
    on_gpu = torch.distributed.get_backend() == "nccl"
    moved = values.cuda() if on_gpu else values
    torch.distributed.all_reduce(moved)
    return moved.cpu()


class Curves:
    """The run's TensorBoard curves, its previews, and the log that the driver tells from."""

    def __init__(self, out: Path, start: int, config: TrainingConfig) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)
        self._previews = out / "previews"
        self._previews.mkdir(exist_ok=True)
        self._log = (out / LOG).open("a")
        self._config = config
        self._since, self._from = time.monotonic(), start
        self._watch = None if _has_alarm(out / LOG) else CriticWatch()
        if start:
            self._write({"resumed": start, "steps": config.steps})

    def step(self, step: Step) -> None:
        """Record one step's losses; now and then a line of the log."""
        for name, value in step.losses.items():
            self._writer.add_scalar(f"train/{name}", value, step.number)
        if self._watch and CRITIC_LOSS in step.losses:
            alarm = self._watch.seen(step.losses[CRITIC_LOSS])
            if alarm:
                self._write({"alarm": alarm, "step": step.number, "steps": self._config.steps})
        elapsed = time.monotonic() - self._since
        if elapsed >= LOG_EVERY:
            rate = (step.number - self._from) / elapsed
            self._since, self._from = time.monotonic(), step.number
            self._line(step.number, step.losses, rate)

    def validation(self, step: int, found: dict[str, float], image: bytes) -> None:
        """Record what validation found and the preview, `previews/step-000250.png`."""
        validation = {k: v for k, v in found.items() if not k.startswith("train_")}
        for name, value in validation.items():
            self._writer.add_scalar(f"validation/{name}", value, step)
        self._writer.flush()
        (self._previews / f"step-{step:06d}.png").write_bytes(image)
        told = {f"validation {k}": v for k, v in validation.items() if not BY_BAND.search(k)}
        self._line(step, told, None)

    def close(self) -> None:
        self._writer.close()
        self._log.close()

    def _line(self, step: int, values: dict[str, float], rate: float | None) -> None:
        self._write({"step": step, "steps": self._config.steps, "values": values, "rate": rate})

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


def _has_alarm(log: Path) -> bool:
    """Whether an earlier start of this run told already that the critic wins."""
    return log.exists() and any('"alarm"' in line for line in log.read_text().splitlines())
