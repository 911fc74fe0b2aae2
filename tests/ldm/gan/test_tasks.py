"""Training the baselines: turns, resuming, micro batches, learning, and what validation tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ldm.gan.config import KINDS
from ldm.gan.networks import Critic
from ldm.gan.presets import gan_preset
from ldm.gan.tasks import network_of, task_of
from ldm.gan.validation import SAMPLES, generator_of, likeness, samples, validate
from ldm.training.config import TrainingConfig
from ldm.training.loop import AdversarialTask, TrainingState, train
from tests.ldm.tiny_model import volume_paths

PRESET = gan_preset("tiny")
CPU = torch.device("cpu")
Run = tuple[TrainingState, AdversarialTask]


def new_run(kind: str, folder: Path, config: TrainingConfig) -> Run:
    torch.manual_seed(config.seed)
    network = network_of(kind, PRESET.generator, PRESET.critic)
    critic = Critic(PRESET.critic)
    task = task_of(kind, volume_paths(folder), config, critic, PRESET.generator.latent)
    return TrainingState(network, config, CPU, critic), task


def config_of(kind: str, **changes: int) -> TrainingConfig:
    return replace(PRESET.training[kind], warmup_steps=2, seed=3, **changes)


def weights(state: TrainingState) -> dict[str, Tensor]:
    """Both players' weights and buffers, and the average."""
    networks = {name: player.network for name, player in state.players.items()}
    networks["average"] = state.average
    return {
        f"{part}/{name}": tensor.clone()
        for part, network in networks.items()
        for name, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_has_bit_for_bit_the_weights_of_an_undisturbed_one(
    kind: str, tmp_path: Path
) -> None:
    config = config_of(kind, steps=4)
    whole, task = new_run(kind, tmp_path, config)
    losses = [step.losses for step in train(whole, task)]

    first, task = new_run(kind, tmp_path, replace(config, steps=2))
    for _ in train(first, task):
        pass
    first.save(tmp_path / "checkpoint", {})

    second, task = new_run(kind, tmp_path, replace(config, seed=99))
    task.config = second.config = config  # other weights at first, all to be replaced
    second.restore(tmp_path / "checkpoint")
    assert [step.losses for step in train(second, task)] == losses[2:]
    found, wanted = weights(second), weights(whole)
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


@pytest.mark.parametrize("kind", KINDS)
def test_validation_between_steps_changes_no_weight(kind: str, tmp_path: Path) -> None:
    state, task = new_run(kind, tmp_path, config_of(kind, steps=1))
    for _ in train(state, task):
        pass
    before = weights(state)
    validate(state.average, task.critic, volume_paths(tmp_path), CPU)
    after = weights(state)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert task.critic.training


@pytest.mark.parametrize("kind", KINDS)
def test_both_players_learn_in_every_step(kind: str, tmp_path: Path) -> None:
    state, task = new_run(kind, tmp_path, config_of(kind, steps=1))
    before = weights(state)
    (step,) = train(state, task)
    after = weights(state)
    for player, network in state.players.items():
        for name, _ in network.network.named_parameters():
            assert not torch.equal(before[f"{player}/{name}"], after[f"{player}/{name}"]), name
    assert {"loss", "critic loss", "critic real", "critic made"} <= step.losses.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_give_the_losses_of_the_whole_batch(kind: str, tmp_path: Path) -> None:
    found = []
    for micro in (0, 1):
        # A pass moves the critic's spectral norm by a power iteration: let it settle first.
        state, task = new_run(kind, tmp_path, config_of(kind, steps=1, micro_batch=micro))
        for _ in range(300):
            task.critic(torch.zeros(1, 1, *PRESET.grid.shape))
        (step,) = train(state, task)
        found.append(step.losses)
    assert found[1] == pytest.approx(found[0], rel=2e-3, abs=1e-5)


def test_an_lsgan_comes_to_make_what_it_is_shown(tmp_path: Path) -> None:
    config = replace(PRESET.training["lsgan"], steps=100)
    state, task = new_run("lsgan", tmp_path, config)
    real = np.stack([np.load(path) / 4095 for path in volume_paths(tmp_path)]).mean(axis=0)
    before = samples(generator_of(state.average), SAMPLES, CPU)
    for _ in train(state, task):
        pass
    after = samples(generator_of(state.average), SAMPLES, CPU)
    far, near = (float(np.abs(made - real).mean()) for made in (before, after))
    assert near < 0.5 * far


def test_a_vae_gan_comes_to_reconstruct(tmp_path: Path) -> None:
    config = replace(PRESET.training["vae-gan"], steps=60)
    state, task = new_run("vae-gan", tmp_path, config)
    paths = volume_paths(tmp_path)
    before = validate(state.average, task.critic, paths, CPU)
    for _ in train(state, task):
        pass
    after = validate(state.average, task.critic, paths, CPU)
    assert after["l1"] < 0.5 * before["l1"]
    assert after["psnr"] > before["psnr"]
    assert after["count"] == len(paths)


def test_likeness_is_one_of_copies_and_the_mean_correlation_of_others() -> None:
    a, b = np.arange(8.0).reshape(2, 2, 2), np.arange(8.0)[::-1].reshape(2, 2, 2)
    assert likeness(np.stack([a, a, 3 * a + 1])) == pytest.approx(1)
    # pairs: a-a 1, a-b -1, a-b -1
    assert likeness(np.stack([a, a, b])) == pytest.approx(-1 / 3)


def test_validation_adds_up_over_workers(tmp_path: Path) -> None:
    state, task = new_run("vae-gan", tmp_path, config_of("vae-gan", steps=1))
    paths = volume_paths(tmp_path)
    whole = validate(state.average, task.critic, paths, CPU)
    shares = [validate(state.average, task.critic, paths[r::2], CPU) for r in range(2)]
    assert {k: sum(share[k] for share in shares) for k in whole} == pytest.approx(whole)
    nothing = validate(state.average, task.critic, [], CPU)
    assert list(nothing) == list(whole)  # or workers without a held-out volume hang the others
    assert not any(nothing.values())
