"""Private training: what a person adds is bounded, no other's affair, and hidden by noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ldm.diffusion.schedule import Schedule
from ldm.errors import LdmError
from ldm.networks import Denoiser
from ldm.training.config import TrainingConfig
from ldm.training.diffusion import DiffusionTask
from ldm.training.loop import TrainingState
from ldm.training.private.accountant import noise_multiplier
from ldm.training.private.config import ALL, BIASES, PrivacyConfig
from ldm.training.private.steps import train_privately, tune
from tests.ldm.tiny_model import diffusion_task, networks

DRAWS = 3
CONFIG = TrainingConfig(
    steps=2, batch_size=DRAWS, learning_rate=1e-2, seed=3, precision="fp32", clip_norm=1e3
)
PRIVACY = PrivacyConfig(
    epsilon=8, delta=0.02, people=4, people_per_step=2.0, steps=2, draws=DRAWS, tuned=ALL
)
PEOPLE = [np.array([0]), np.array([1, 2]), np.array([3]), np.array([4])]  # one has two samples


class Taking(np.random.Generator):
    """Chance that takes whom it is told, step by step, and adds honest noise."""

    def __init__(self, *steps: Sequence[int]) -> None:
        super().__init__(np.random.Philox(7))
        self._steps = list(steps)

    def random(self, size: Any = None, *_: Any, **__: Any) -> Any:
        taken = self._steps.pop(0)
        return np.array([0.0 if person in taken else 1.0 for person in range(size)])


@pytest.fixture
def task(tmp_path: Path) -> DiffusionTask:
    return diffusion_task(tmp_path, CONFIG, Schedule())


def new_state(which: str = ALL) -> TrainingState:
    network = networks()[1]
    tune(network, which)
    return TrainingState(network, CONFIG, torch.device("cpu"))


def step_of(task: DiffusionTask, taken: Sequence[int], multiplier: float = 0.0) -> Tensor:
    """The gradient that the optimizer is given where these are taken."""
    state, kept = new_state(), []

    def keep(*_: Any) -> None:
        kept.append(torch.cat([p.grad.flatten().clone() for p in state.model.parameters()]))  # type: ignore[union-attr]

    state.players["model"].optimizer.register_step_pre_hook(keep)
    privacy = replace(PRIVACY, steps=1)
    list(train_privately(state, task, PEOPLE, privacy, multiplier, chance=Taking(taken)))
    return kept[0]


def test_a_person_adds_less_than_one_in_all(task: DiffusionTask) -> None:
    for person in range(4):
        added = step_of(task, [person]) * PRIVACY.people_per_step
        assert 0.5 < float(added.norm()) < 1


def test_what_a_person_adds_is_the_same_whoever_else_is_taken(task: DiffusionTask) -> None:
    alone = step_of(task, [1])
    for others in ([0], [2, 3], [0, 2, 3]):
        together, without = step_of(task, sorted([1, *others])), step_of(task, others)
        torch.testing.assert_close(together - without, alone, rtol=1e-4, atol=1e-7)


def test_a_share_is_the_gradient_of_the_person_s_own_mean_loss(task: DiffusionTask) -> None:
    state = new_state()
    samples = task.load(np.array([3] * DRAWS), 2, range(DRAWS))  # step 0, person 2 of 4
    loss, _ = task.loss(state.model, samples)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in state.model.parameters()])  # type: ignore[union-attr]
    expected = gradient / (gradient.norm() + 0.01) / PRIVACY.people_per_step
    torch.testing.assert_close(step_of(task, [2]), expected, rtol=1e-4, atol=1e-6)


def test_the_noise_is_the_multiplier_over_the_people_of_a_step(task: DiffusionTask) -> None:
    nobody = step_of(task, [], multiplier=3.0)
    assert float(nobody.std()) == pytest.approx(3.0 / PRIVACY.people_per_step, rel=0.02)
    assert abs(float(nobody.mean())) < 0.05
    somebody = step_of(task, [0], multiplier=3.0)
    torch.testing.assert_close(somebody - nobody, step_of(task, [0]), rtol=1e-3, atol=1e-5)


def test_everybody_is_taken_by_a_chance_of_their_own(task: DiffusionTask) -> None:
    privacy = replace(PRIVACY, steps=120, people_per_step=1.0)
    state = new_state(BIASES)
    sizes = [s.samples for s in train_privately(state, task, PEOPLE, privacy, 1.0)]
    assert set(sizes) >= {0, 1, 2}  # as by a binomial distribution, not a fixed number
    assert np.mean(sizes) == pytest.approx(1.0, abs=0.4)


def test_nobody_can_draw_the_noise_again(task: DiffusionTask) -> None:
    found = []
    for _ in range(2):
        state = new_state()
        list(train_privately(state, task, PEOPLE, PRIVACY, 1.0))
        found.append(state.model.state_dict())
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_only_biases_and_gains_move_where_they_alone_are_tuned(task: DiffusionTask) -> None:
    state = new_state(BIASES)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    list(train_privately(state, task, PEOPLE, PRIVACY, 1.0))
    for name, parameter in state.model.named_parameters():
        assert torch.equal(parameter, before[name]) == (parameter.ndim != 1), name


def test_a_run_goes_on_from_its_checkpoint(task: DiffusionTask, tmp_path: Path) -> None:
    state = new_state(BIASES)
    for _ in train_privately(state, task, PEOPLE, replace(PRIVACY, steps=1), 1.0):
        pass
    state.save(tmp_path / "kept", {})
    again = new_state(BIASES)
    again.restore(tmp_path / "kept")
    (last,) = train_privately(again, task, PEOPLE, PRIVACY, 1.0)
    assert (last.number, again.step) == (2, 2)


def test_the_noise_keeps_the_promise_by_opacus_s_accountants() -> None:
    from opacus.accountants import PRVAccountant, RDPAccountant

    privacy = PrivacyConfig(epsilon=3, delta=1e-3, people=131, people_per_step=32.75, steps=20)
    multiplier = noise_multiplier(privacy)
    spent = {}
    for kind in (PRVAccountant, RDPAccountant):
        accountant = kind()
        for _ in range(privacy.steps):
            accountant.step(noise_multiplier=multiplier, sample_rate=0.25)
        spent[kind] = accountant.get_epsilon(delta=privacy.delta)
    assert 2.7 < spent[PRVAccountant] <= 3.0
    assert spent[RDPAccountant] >= spent[PRVAccountant]  # a looser bound, by another proof
    assert noise_multiplier(replace(privacy, steps=40)) > multiplier
    assert noise_multiplier(replace(privacy, epsilon=10)) < multiplier


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epsilon": 0.0}, "epsilon 0: expected above 0"),
        ({"epsilon": float("nan")}, "epsilon nan: expected above 0"),
        ({"delta": 0.3}, "below one over the 4 people, 0.25"),
        ({"delta": 0.0}, "delta 0: expected above 0"),
        ({"people_per_step": 5.0}, "5 people a step: expected above 0, and no more than the 4"),
        ({"draws": 0}, "2 steps of 0 draws: expected at least 1 of each"),
        ({"tuned": "some"}, "tuned 'some': expected biases or all"),
    ],
)
def test_a_promise_that_means_nothing_is_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LdmError, match=said):
        replace(PRIVACY, **changes)


def test_a_promise_comes_back_from_json() -> None:
    assert PrivacyConfig.from_json(PRIVACY.to_json()) == PRIVACY


def test_the_denoiser_s_weights_with_one_side_are_few() -> None:
    network = Denoiser(networks()[1].config)
    assert 0 < tune(network, BIASES) < tune(network, ALL) / 5
