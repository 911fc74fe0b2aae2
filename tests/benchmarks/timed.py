"""A network trained for a given time rather than a number of steps, without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ldm.training.config import TrainingConfig
from ldm.training.loop import Task, TrainingState, train

ENDLESS = 10**9  # steps; there is no cool-down, the average of the weights stands for it


def train_for(
    seconds: float,
    network: nn.Module,
    task: Task,
    config: TrainingConfig,
    device: torch.device,
    look: Callable[[nn.Module], dict[str, float]],
    *,
    looks: int = 4,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """The average of the weights after so many seconds of training, and what `look` saw of it.

    Args:
        look: figures of the average; the time that it takes does not count.
        looks: how often, the last at the end.
        clock: `time.process_time` where other work shares the cores.
    """
    config = replace(config, steps=ENDLESS, cooldown_steps=0)
    state = TrainingState(network, config, device)
    history: list[dict[str, Any]] = []
    spent, since, losses = 0.0, clock(), []
    with closing(train(state, task)) as steps:
        for step in steps:
            losses.append(step.losses["loss"])
            now = spent + clock() - since
            if now < seconds * (len(history) + 1) / looks:
                continue
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            spent += clock() - since
            found = {"step": step.number, "seconds": round(spent, 1)}
            found |= {"training_loss": sum(losses) / len(losses), **look(state.average)}
            history.append(found)
            print("  ".join(f"{name} {value:.5g}" for name, value in found.items()), flush=True)
            since, losses = clock(), []
            if len(history) == looks:
                break
    return state.average, history
