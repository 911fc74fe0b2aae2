"""The training loop: a generator of steps over a task; the caller logs, saves and reports."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.networks import channels_last
from ldm.networks.precision import PRECISIONS, autocast
from ldm.training import checkpoint
from ldm.training.batches import batch, share
from ldm.training.config import TrainingConfig
from ldm.training.recompute import recompute

Losses = dict[str, float]
LOADS, COMPUTES = "loads samples", "computes"  # what a worker does in a step


class Task(Protocol):
    """What is trained on: how to load samples and what the loss is."""

    count: int

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """The samples at `indices`, tensors whose first side is the batch's."""

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss over the samples, and its named parts.

        May leave detached tensors in `samples` for the critic.
        """


@runtime_checkable
class AdversarialTask(Task, Protocol):
    """A task whose loss also asks a critic, which is trained by turns with the model.

    The task holds the same critic that `TrainingState` trains and calls it in `loss` with its
    parameters frozen.
    """

    critic: nn.Module

    def plays(self, step: int) -> bool:
        """Whether the critic takes part in this step."""

    def critic_loss(
        self, critic: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's mean loss over samples that `loss` has seen, and its named parts."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One finished optimizer step.

    Attributes:
        number: from 1.
        losses: means over this worker's samples.
        samples: how many those were.
    """

    number: int
    losses: Losses
    samples: int


class Player:
    """A network in training: its optimizer, and its gradient step."""

    def __init__(self, network: nn.Module, learning_rate: float, config: TrainingConfig) -> None:
        self.network = network
        self.learning_rate = learning_rate
        self.config = config
        self.optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=learning_rate,
            weight_decay=config.weight_decay,
            betas=(config.beta1, 0.99),
        )

    def step(self, number: int, loss: float) -> None:
        """Apply the gradients gathered in the network, at the learning rate of step `number`.

        Raises:
            LdmError: the loss or the gradient is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * self.config.rate_at(number)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        if not np.isfinite(loss) or not torch.isfinite(norm):
            raise LdmError(
                f"step {number}: the loss is {loss} and the gradient's norm {float(norm)}; "
                "lower --learning-rate or use --precision fp32",
                exit_code=1,
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class TrainingState:
    """Weights, their moving average, the optimizer and the step count of a run."""

    def __init__(
        self,
        model: nn.Module,
        config: TrainingConfig,
        device: torch.device,
        critic: nn.Module | None = None,
    ) -> None:
        self.config = config
        self.device = device
        self.step = 0
        self.model = model.to(device)
        channels_last(self.model)
        self.average: nn.Module = copy.deepcopy(self.model).eval().requires_grad_(False)
        if config.activation_checkpointing:
            recompute(self.model)
        self.players = {"model": Player(self.model, config.learning_rate, config)}
        if critic is not None:
            channels_last(critic.to(device))
            self.players["critic"] = Player(critic, config.critic_learning_rate, config)

    def save(self, folder: Any, meta: dict[str, Any]) -> None:
        """Write a checkpoint into `folder`."""
        groups = {"average": self.average.state_dict()}
        for name, player in self.players.items():
            groups[name] = player.network.state_dict()
            groups[_optimizer(name)] = checkpoint.optimizer_tensors(
                player.optimizer, player.network
            )
        checkpoint.write(folder, groups, {**meta, "step": self.step})

    def restore(self, folder: Any) -> dict[str, Any]:
        """Go on from a checkpoint; returns its metadata."""
        groups, meta = checkpoint.read(folder)
        self.average.load_state_dict(groups["average"])
        for name, player in self.players.items():
            player.network.load_state_dict(groups[name])
            checkpoint.restore_optimizer(player.optimizer, player.network, groups[_optimizer(name)])
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
    wrapped: Mapping[str, nn.Module] | None = None,
    rank: int = 0,
    world: int = 1,
    doing: Callable[[str], None] = lambda what: None,
) -> Iterator[Step]:
    """Train until `config.steps`, yielding after every step.

    Args:
        wrapped: the players' networks as the caller distributes them (DDP), by name.
        rank, world: which of how many workers this is; each takes every `world`-th sample of
            the same global batch, so the run is the same for any number of workers.
        doing: told whenever the worker begins to wait for samples (`LOADS`) or to compute on them.

    Raises:
        LdmError: fewer samples a batch than workers, or a loss that is not finite.
    """
    config = state.config
    if config.batch_size < world:
        raise LdmError(
            f"batch_size {config.batch_size} is less than {world} workers; expected one sample "
            "each or more"
        )
    networks = {name: player.network for name, player in state.players.items()} | dict(
        wrapped or {}
    )
    positions = share(config.batch_size, rank, world)

    def load(step: int) -> dict[str, Tensor]:
        indices = batch(config.seed, step, config.batch_size, task.count)[list(positions)]
        return task.load(indices, step, positions)

    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(load, state.step)
        while state.step < config.steps:
            doing(LOADS)
            samples = following.result()
            following = ahead.submit(load, state.step + 1)
            doing(COMPUTES)
            losses = _turns(state, task, networks, samples, config.batch_size / world)
            state.step += 1
            state.update_average()
            yield Step(number=state.step, losses=losses, samples=len(positions))


def _turns(
    state: TrainingState,
    task: Task,
    networks: dict[str, Any],
    samples: dict[str, Tensor],
    usual: float,
) -> Losses:
    """The model's step, then the critic's where there is one and it plays."""
    parts = _micro_batches(samples, state.config.micro_batch)
    players, number = state.players, state.step + 1
    if not isinstance(task, AdversarialTask):
        return _turn(state, players["model"], networks["model"], task.loss, parts, number, usual)
    task.critic.requires_grad_(False)
    losses = _turn(state, players["model"], networks["model"], task.loss, parts, number, usual)
    task.critic.requires_grad_(True)
    if task.plays(state.step):
        critic = players["critic"], networks["critic"], task.critic_loss
        found = _turn(state, *critic, parts, number, usual)
        losses |= {f"critic {name}": value for name, value in found.items()}
    return losses


def _turn(
    state: TrainingState,
    player: Player,
    network: Any,
    loss_of: Callable[[nn.Module, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]],
    parts: list[dict[str, Tensor]],
    number: int,
    usual: float,
) -> Losses:
    """One optimizer step of one player over the micro-batches `parts`; its mean losses.

    Args:
        usual: samples of a worker, on average: workers' gradients are averaged as if each had had
            as many, so that every sample counts the same where they do not divide evenly.
    """
    size = sum(map(_size, parts))
    totals: dict[str, float] = {}
    for position, part in enumerate(parts):
        part.update({name: tensor.to(state.device) for name, tensor in part.items()})
        weight = _size(part) / size
        last = position == len(parts) - 1
        hold = nullcontext() if last or not hasattr(network, "no_sync") else network.no_sync()
        with hold, autocast(state.device.type, PRECISIONS[state.config.precision]):
            loss, named = loss_of(network, part)
            (loss * (_size(part) / usual)).backward()
        for name, value in {"loss": loss, **named}.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach()) * weight
    player.step(number, totals["loss"])
    return totals


def _micro_batches(samples: dict[str, Tensor], micro: int) -> list[dict[str, Tensor]]:
    size = _size(samples)
    micro = micro or size
    return [
        {name: tensor[start : start + micro] for name, tensor in samples.items()}
        for start in range(0, size, micro)
    ]


def _size(samples: dict[str, Tensor]) -> int:
    return len(next(iter(samples.values())))


def _optimizer(player: str) -> str:
    """The checkpoint's group of a player's optimizer."""
    return "optimizer" if player == "model" else f"{player}_optimizer"
