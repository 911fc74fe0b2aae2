"""DP-SGD's steps: whom one takes, what each of them adds at most, and the noise upon it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldm import noise
from ldm.networks.precision import PRECISIONS, autocast
from ldm.training.diffusion import DiffusionTask
from ldm.training.loop import COMPUTES, Step, TrainingState
from ldm.training.private.config import ALL, PrivacyConfig

# Beside a gradient's norm where it is divided by it (Bu et al. 2023, AUTO-S).
_STABILITY = 0.01


def tune(network: nn.Module, which: str) -> int:
    """Let only the weights `which` be trained, as of `PrivacyConfig`; how many they are."""
    for parameter in network.parameters():
        parameter.requires_grad_(which == ALL or parameter.ndim == 1)
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def secret_chance() -> np.random.Generator:
    """Chance that nobody can draw again, seeded by the operating system.

    Who knew the noise could take it off again, so it comes from no seed and is kept nowhere. It is
    as good as Philox is, and its float64 normals are not hardened against Mironov (2012).
    """
    return np.random.Generator(np.random.Philox(secrets.randbits(128)))


def train_privately(
    state: TrainingState,
    task: DiffusionTask,
    people: Sequence[np.ndarray],
    privacy: PrivacyConfig,
    multiplier: float,
    *,
    chance: np.random.Generator | None = None,
    doing: Callable[[str], None] = lambda what: None,
) -> Iterator[Step]:
    """Train until `privacy.steps`, yielding after every step (Abadi et al. 2016, algorithm 1).

    A person's gradient g becomes g / (|g| + 0.01), shorter than 1 (Bu et al. 2023, equation 4.1);
    to the sum of those who are taken comes N(0, multiplier^2) a weight, and it is divided by how
    many are taken on average. What a person adds is a function of the person and the weights
    alone, never of who else is taken.

    Args:
        state: only its weights that require a gradient are trained.
        task: `batch_size` of its config is `privacy.draws`, over which time steps are stratified.
        people: of each the indices into the task's samples; sessions and contrasts of one person
            stand together.
        multiplier: see `accountant.noise_multiplier`.
        chance: who is taken, and the noise; by default secret, and so never the same again.
    """
    chance = secret_chance() if chance is None else chance
    weights = [p for p in state.model.parameters() if p.requires_grad]
    while state.step < privacy.steps:
        doing(COMPUTES)
        taken = np.flatnonzero(chance.random(len(people)) < privacy.rate)
        sums, losses = [torch.zeros_like(w) for w in weights], []
        for person in taken.tolist():
            stream = state.step * len(people) + person
            loss, share = _share_of(state, task, people[person], stream, privacy.draws, weights)
            losses.append(loss)
            for total, gradient in zip(sums, share, strict=True):
                total += gradient
        for weight, total in zip(weights, sums, strict=True):
            drawn = torch.from_numpy(multiplier * chance.standard_normal(tuple(total.shape)))
            weight.grad = (total + drawn.to(total)) / privacy.people_per_step
        mean = float(np.mean(losses)) if losses else 0.0
        state.players["model"].step(state.step + 1, mean)
        state.step += 1
        state.update_average()
        yield Step(number=state.step, losses={"loss": mean} if losses else {}, samples=len(taken))


def _share_of(
    state: TrainingState,
    task: DiffusionTask,
    samples: np.ndarray,
    stream: int,
    draws: int,
    weights: list[nn.Parameter],
) -> tuple[float, list[Tensor]]:
    """A person's mean loss over the draws, and the gradient of it, shorter than 1."""
    picked = noise.generator(noise.TRAINING, task.config.seed, stream, draws).choice(samples, draws)
    loaded: dict[str, Any] = task.load(picked, stream, range(draws))
    moved = {name: tensor.to(state.device) for name, tensor in loaded.items()}
    with autocast(state.device.type, PRECISIONS[state.config.precision]):
        loss, _ = task.loss(state.model, moved)
    gradients = [g.float() for g in torch.autograd.grad(loss, weights)]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    scale = 1 / (norm + _STABILITY)
    return float(loss.detach()), [g * scale for g in gradients]
