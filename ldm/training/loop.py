"""The training loop: a generator of steps over a task; the caller logs, saves and reports."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.networks import channels_last
from ldm.precision import PRECISIONS, autocast
from ldm.training import checkpoint
from ldm.training.batches import batch, share
from ldm.training.config import TrainingConfig

Losses = dict[str, float]


class Task(Protocol):
    """What is trained on: how to load samples and what the loss is."""

    count: int

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """The samples at `indices`, tensors whose first side is the batch's."""

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss over the samples, and its named parts."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One finished optimizer step: its number from 1 and this worker's mean losses."""

    number: int
    losses: Losses


class TrainingState:
    """Weights, their moving average, the optimizer and the step count of a run."""

    def __init__(self, model: nn.Module, config: TrainingConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.step = 0
        self.model = model.to(device)
        channels_last(self.model)
        self.average: nn.Module = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.99),
        )

    def save(self, folder: Any, meta: dict[str, Any]) -> None:
        """Write a checkpoint into `folder`."""
        groups = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": checkpoint.optimizer_tensors(self.optimizer, self.model),
        }
        checkpoint.write(folder, groups, {**meta, "step": self.step})

    def restore(self, folder: Any) -> dict[str, Any]:
        """Go on from a checkpoint; returns its metadata."""
        groups, meta = checkpoint.read(folder)
        self.model.load_state_dict(groups["model"])
        self.average.load_state_dict(groups["average"])
        checkpoint.restore_optimizer(self.optimizer, self.model, groups["optimizer"])
        self.step = int(meta["step"])
        return meta

    def update_average(self) -> None:
        """Exponential moving average with the usual ramp, min(d, (1 + s) / (10 + s))."""
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)


def train(
    state: TrainingState,
    task: Task,
    *,
    wrapped: nn.Module | None = None,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Step]:
    """Train until `config.steps`, yielding after every step.

    Args:
        wrapped: the model as the caller distributes it (DDP); `state.model` by default.
        rank, world: which of how many workers this is; each takes every `world`-th sample of
            the same global batch, so the run is the same for any number of workers.

    Raises:
        LdmError: a batch that does not divide among the workers, or a loss that is not finite.
    """
    config = state.config
    if config.batch_size % world:
        raise LdmError(
            f"batch_size {config.batch_size} does not divide among {world} workers; "
            "choose a multiple"
        )
    model: Any = wrapped or state.model
    positions = share(config.batch_size, rank, world)

    def load(step: int) -> dict[str, Tensor]:
        indices = batch(config.seed, step, config.batch_size, task.count)[list(positions)]
        return task.load(indices, step, positions)

    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(load, state.step)
        while state.step < config.steps:
            samples = following.result()
            following = ahead.submit(load, state.step + 1)
            losses = _optimizer_step(state, task, model, samples)
            state.step += 1
            state.update_average()
            yield Step(number=state.step, losses=losses)


def _optimizer_step(
    state: TrainingState, task: Task, model: Any, samples: dict[str, Tensor]
) -> Losses:
    config = state.config
    for group in state.optimizer.param_groups:
        warm = min(1.0, (state.step + 1) / max(config.warmup_steps, 1))
        group["lr"] = config.learning_rate * warm
    size = len(next(iter(samples.values())))
    micro = config.micro_batch or size
    starts = range(0, size, micro)
    totals: dict[str, float] = {}
    for start in starts:
        part = {k: v[start : start + micro].to(state.device) for k, v in samples.items()}
        weight = len(next(iter(part.values()))) / size
        last = start == starts[-1]
        hold = nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync()
        with hold, autocast(state.device.type, PRECISIONS[config.precision]):
            loss, parts = task.loss(model, part)
            (loss * weight).backward()
        for name, value in {"loss": loss, **parts}.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach()) * weight
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
    if not np.isfinite(totals["loss"]) or not torch.isfinite(norm):
        raise LdmError(
            f"step {state.step + 1}: the loss is {totals['loss']} and the gradient's norm "
            f"{float(norm)}; lower --learning-rate or use --precision fp32",
            exit_code=1,
        )
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    return totals
