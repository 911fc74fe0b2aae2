"""The training loop: resumed, cut in micro batches or shared out, it is the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ldm.diffusion.schedule import Schedule
from ldm.errors import LdmError
from ldm.networks import Autoencoder, Denoiser
from ldm.training import checkpoint
from ldm.training.config import TrainingConfig
from ldm.training.loop import Step, Task, TrainingState, train
from tests.ldm.tiny_model import (
    BRANCHED,
    adversarial_run,
    autoencoder_task,
    diffusion_task,
    new_state,
)

CONFIG = TrainingConfig(
    steps=4, batch_size=4, learning_rate=1e-3, warmup_steps=3, seed=3, precision="fp32"
)
Tensors = dict[str, Tensor]
MakeTask = Callable[[TrainingConfig], Task]


@pytest.fixture(params=["autoencoder", "diffusion"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[type[nn.Module], MakeTask]:
    """A network and a function that makes its task."""
    if request.param == "autoencoder":
        return Autoencoder, lambda config: autoencoder_task(tmp_path, config)
    return Denoiser, lambda config: diffusion_task(tmp_path, config, Schedule())


def everything(state: TrainingState) -> Tensors:
    """All that a run carries from step to step, by name."""
    groups = {"average": state.average.state_dict()}
    for name, player in state.players.items():
        groups[name] = player.network.state_dict()
        groups[f"{name} optimizer"] = checkpoint.optimizer_tensors(player.optimizer, player.network)
    return {f"{g}/{n}": t.clone() for g, tensors in groups.items() for n, t in tensors.items()}


def assert_equal(found: Tensors, wanted: Tensors) -> None:
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def test_a_resumed_run_has_bit_for_bit_the_weights_of_an_undisturbed_one(
    kind: tuple[type[nn.Module], MakeTask], tmp_path: Path
) -> None:
    network, make_task = kind
    whole = new_state(network, CONFIG)
    losses = [step.losses for step in train(whole, make_task(CONFIG))]

    short = replace(CONFIG, steps=2)
    first = new_state(network, short)
    for _ in train(first, make_task(short)):
        pass
    first.save(tmp_path / "checkpoint", {"note": "kept"})

    second = new_state(network, replace(CONFIG, seed=99))  # other weights, all to be replaced
    second.config = CONFIG
    assert second.restore(tmp_path / "checkpoint")["note"] == "kept"
    assert second.step == 2
    steps = list(train(second, make_task(CONFIG)))

    assert [step.number for step in steps] == [3, 4]
    assert [step.losses for step in steps] == losses[2:]
    assert_equal(everything(second), everything(whole))


def branch_state(steps: int) -> TrainingState:
    """A U-Net that stays, and a branch beside it in training."""
    torch.manual_seed(CONFIG.seed)
    network = Denoiser(BRANCHED)
    for parameter in network.net.parameters():
        nn.init.normal_(parameter, std=0.1)
    network.net.requires_grad_(False)
    return TrainingState(network, replace(CONFIG, steps=steps), torch.device("cpu"))


def test_a_branch_is_trained_beside_a_u_net_that_stays_and_resumes_bit_for_bit(
    tmp_path: Path,
) -> None:
    begun, whole = everything(branch_state(4)), branch_state(4)
    task = diffusion_task(tmp_path, CONFIG, Schedule())
    for _ in train(whole, task):
        pass
    found = everything(whole)
    changed = {name for name, tensor in begun.items() if not torch.equal(found[name], tensor)}
    assert {name.split("/")[1].split(".")[0] for name in changed} == {"branch"}
    assert {"average/branch.last.weight", "model/branch.last.weight"} <= changed

    first = branch_state(2)
    for _ in train(first, task):
        pass
    (tmp_path / "checkpoint").mkdir()
    first.save(tmp_path / "checkpoint", {})
    again = branch_state(4)
    again.restore(tmp_path / "checkpoint")
    for _ in train(again, task):
        pass
    assert_equal(everything(again), found)


def test_a_finished_run_does_nothing(kind: tuple[type[nn.Module], MakeTask]) -> None:
    network, make_task = kind
    state = new_state(network, CONFIG)
    state.step = CONFIG.steps
    before = everything(state)
    assert list(train(state, make_task(CONFIG))) == []
    assert_equal(everything(state), before)


@pytest.mark.parametrize("micro", [1, 3])
def test_micro_batches_give_the_step_of_the_whole_batch(
    kind: tuple[type[nn.Module], MakeTask], micro: int
) -> None:
    network, make_task = kind
    found = []
    for size in (0, micro):
        config = replace(CONFIG, steps=1, micro_batch=size)
        state = new_state(network, config)
        gradients = kept_gradients(state)
        (step,) = train(state, make_task(config))
        found.append((step.losses, gradients))
    (losses, gradients), (micro_losses, micro_gradients) = found
    assert micro_losses == pytest.approx(losses, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(micro_gradients[name], gradient, rtol=1e-4, atol=1e-5)


def kept_gradients(state: TrainingState) -> Tensors:
    """The gradients at the coming optimizer step, filled in when it is made."""
    kept: Tensors = {}

    def keep(*_: Any) -> None:
        for name, parameter in state.model.named_parameters():
            assert parameter.grad is not None
            kept[name] = parameter.grad.clone()

    state.players["model"].optimizer.register_step_pre_hook(keep)
    return kept


@pytest.mark.parametrize("world", [2, 3])
def test_shares_have_together_the_loss_and_the_gradient_of_one_worker(
    kind: tuple[type[nn.Module], MakeTask], world: int
) -> None:
    """Also where the batch of four does not divide evenly: gradients are averaged over workers."""
    network, make_task = kind
    config = replace(CONFIG, steps=1, clip_norm=1e9)
    found = []
    for rank, of in ((0, 1), *((rank, world) for rank in range(world))):
        state = new_state(network, config)
        gradients = kept_gradients(state)
        (step,) = train(state, make_task(config), rank=rank, world=of)
        found.append((step, gradients))
    (whole, gradients), *shares = found
    samples = [step.samples for step, _ in shares]
    assert sum(samples) == whole.samples == config.batch_size
    for name, value in whole.losses.items():
        weighted = [step.losses[name] * step.samples for step, _ in shares]
        assert sum(weighted) / config.batch_size == pytest.approx(value, rel=1e-5)
    assert shares[0][0].losses != shares[1][0].losses
    for name, gradient in gradients.items():
        mean = torch.stack([share[name] for _, share in shares]).mean(dim=0)
        torch.testing.assert_close(mean, gradient, rtol=1e-4, atol=1e-5)


def test_a_batch_of_fewer_samples_than_workers_is_refused(tmp_path: Path) -> None:
    task = diffusion_task(tmp_path, CONFIG, Schedule())
    with pytest.raises(LdmError, match="batch_size 4 is less than 5 workers"):
        next(train(new_state(Denoiser, CONFIG), task, world=5))


# ------------------------------------------------------------------------------- with a critic

PLAYED = replace(CONFIG, adversarial_weight=0.1, adversarial_from=1, critic_learning_rate=2e-3)


def test_a_resumed_run_with_a_critic_is_bit_for_bit_an_undisturbed_one(tmp_path: Path) -> None:
    whole, task = adversarial_run(tmp_path, PLAYED)
    losses = [step.losses for step in train(whole, task)]
    assert [("adversarial" in loss, "critic loss" in loss) for loss in losses] == [
        (False, False),
        *[(True, True)] * 3,
    ]
    first, task = adversarial_run(tmp_path, replace(PLAYED, steps=2))
    for _ in train(first, task):
        pass
    first.save(tmp_path / "checkpoint", {})

    second, task = adversarial_run(tmp_path, replace(PLAYED, seed=99))
    second.config = task.config = PLAYED
    second.restore(tmp_path / "checkpoint")
    assert [step.losses for step in train(second, task)] == losses[2:]
    assert_equal(everything(second), everything(whole))


def test_only_its_own_turn_changes_the_critic(tmp_path: Path) -> None:
    state, task = adversarial_run(tmp_path, replace(PLAYED, steps=1, adversarial_from=1))
    before = everything(state)
    for _ in train(state, task):
        pass
    changed = {
        name.split("/")[0]
        for name, t in everything(state).items()
        if name in before and not torch.equal(before[name], t)
    }
    assert changed == {"model", "average"}


@pytest.mark.parametrize("micro", [1, 3])
def test_micro_batches_give_the_losses_of_the_whole_batch_with_a_critic_too(
    tmp_path: Path, micro: int
) -> None:
    found = []
    for size in (0, micro):
        config = replace(PLAYED, steps=2, micro_batch=size)
        found.append([step.losses for step in train(*adversarial_run(tmp_path, config))])
    for whole, cut in zip(*found, strict=True):
        assert cut == pytest.approx(whole, rel=1e-3)


class Line(nn.Module):
    """One weight, 1 at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


class Slope:
    """A task whose loss is the weight times a number: the gradient is that number."""

    count = 3

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def load(self, indices: np.ndarray, step: int, positions: range) -> Tensors:
        return {"x": torch.full((len(indices),), self.slope)}

    def loss(self, model: nn.Module, samples: Tensors) -> tuple[Tensor, Tensors]:
        return (model.weight * samples["x"]).mean(), {}


def walk(config: TrainingConfig, slope: float = 1.0) -> Iterator[tuple[float, float, Step]]:
    """The weight and its average after each step."""
    state = TrainingState(Line(), config, torch.device("cpu"))
    for step in train(state, Slope(slope)):
        yield state.model.weight.item(), state.average.weight.item(), step


def test_the_learning_rate_warms_up_and_the_average_follows() -> None:
    """Under a constant gradient each AdamW step is the learning rate itself."""
    weights, averages, _ = zip(*walk(replace(CONFIG, warmup_steps=4, steps=6)), strict=True)
    np.testing.assert_allclose(
        -np.diff([1.0, *weights]), 1e-3 * np.array([0.25, 0.5, 0.75, 1, 1, 1]), rtol=1e-3
    )
    average = 1.0
    for step, (weight, found) in enumerate(zip(weights, averages, strict=True), start=1):
        decay = min(CONFIG.ema_decay, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
        assert found == pytest.approx(average, rel=1e-6)


def test_a_gradient_is_clipped_to_its_largest_norm() -> None:
    state = TrainingState(Line(), replace(CONFIG, clip_norm=0.5), torch.device("cpu"))
    gradients = kept_gradients(state)
    next(train(state, Slope(40.0)))
    assert float(gradients["weight"]) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_weights(slope: float) -> None:
    state = TrainingState(Line(), CONFIG, torch.device("cpu"))
    with pytest.raises(LdmError, match=r"step 1: the loss is .*lower --learning-rate") as caught:
        next(train(state, Slope(slope)))
    assert caught.value.exit_code == 1
    assert (state.model.weight.item(), state.step) == (1.0, 0)


class BrokenTask(Slope):
    """A task whose samples cannot be read."""

    def load(self, indices: np.ndarray, step: int, positions: range) -> Tensors:
        raise LdmError("volume-3.npy is gone")


def test_samples_that_cannot_be_read_end_the_run() -> None:
    state = TrainingState(Line(), CONFIG, torch.device("cpu"))
    with pytest.raises(LdmError, match=r"volume-3\.npy is gone"):
        next(train(state, BrokenTask(1.0)))
