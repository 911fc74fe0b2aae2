"""Activation checkpointing: the same loss and gradients from fewer kept activations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ldm.diffusion.schedule import Schedule
from ldm.networks import Autoencoder, Denoiser
from ldm.training.decoder import DecoderTask, Denoised, new_refiner
from ldm.training.loop import Task, TrainingState
from tests.ldm.tiny_model import (
    PRESET,
    autoencoder_task,
    diffusion_task,
    networks,
    volume_paths,
)

CPU = torch.device("cpu")


def gradients(state: TrainingState, task: Task) -> tuple[float, dict[str, Tensor], int]:
    """The loss, its gradients, and the bytes kept between the way there and the way back."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    samples = task.load(torch.tensor([0, 1]).numpy(), 0, range(2))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = task.loss(state.model, samples)
        held = sum(kept.values())
    loss.backward()
    found = {name: p.grad for name, p in state.model.named_parameters() if p.grad is not None}
    return float(loss.detach()), found, held


@pytest.mark.parametrize("kind", [Autoencoder, Denoiser], ids=["autoencoder", "u-net"])
def test_gradients_are_equal_and_less_is_kept(kind: type[nn.Module], tmp_path: Path) -> None:
    found = []
    for again in (False, True):
        base = PRESET.train_autoencoder if kind is Autoencoder else PRESET.train_diffusion
        config = replace(base, activation_checkpointing=again)
        network = networks()[kind is Denoiser]
        state = TrainingState(network, config, CPU)
        task = (
            autoencoder_task(tmp_path, config)
            if kind is Autoencoder
            else diffusion_task(tmp_path, config, Schedule())
        )
        found.append(gradients(state, task))
    (loss, plain, held), (other_loss, recomputed, less) = found
    assert other_loss == loss
    assert recomputed.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-6, atol=1e-9)
    assert less < 0.7 * held


def test_a_refiner_s_gradients_are_equal_and_less_is_kept(tmp_path: Path) -> None:
    found = []
    for again in (False, True):
        autoencoder, denoiser = networks()
        denoiser.config = replace(denoiser.config, null_condition=-4.0)
        schedule = replace(PRESET.schedule, truncation=250)
        denoised = Denoised(autoencoder, denoiser, schedule, [0.0] * 2, [1.0] * 2)
        config = replace(PRESET.train_decoder, activation_checkpointing=again)
        torch.manual_seed(0)
        refiner = new_refiner(PRESET.refiner, autoencoder, [0.0] * 2, [1.0] * 2)
        for parameter in refiner.parameters():
            nn.init.normal_(parameter, std=0.1)
        conditions = np.full((3, 4), 0.5, np.float32)
        task = DecoderTask(volume_paths(tmp_path)[:3], conditions, denoised, config)
        found.append(gradients(TrainingState(refiner, config, CPU), task))
    (loss, plain, held), (other_loss, recomputed, less) = found
    assert other_loss == pytest.approx(loss)
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-4, atol=1e-7)
    assert less < 0.8 * held


def test_the_average_computes_with_its_own_weights() -> None:
    """A forward that was wrapped before the copy would still belong to the original's blocks."""
    config = replace(PRESET.train_autoencoder, activation_checkpointing=True)
    state = TrainingState(networks()[0], config, CPU)
    volume, drawn = torch.rand(1, 1, *PRESET.grid.shape), torch.zeros(1, 2, 4, 6, 4)
    before = state.average(volume, drawn)[0]
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.zero_()
    torch.testing.assert_close(state.average(volume, drawn)[0], before)
    assert not torch.equal(state.model(volume, drawn)[0], before)
