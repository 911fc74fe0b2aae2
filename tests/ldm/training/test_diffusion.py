"""The diffusion task: its samples, its loss against an oracle, its validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ldm.diffusion.emphasis import WEIGHTINGS, time_step
from ldm.diffusion.samplers import target
from ldm.diffusion.schedule import PREDICTIONS, Schedule
from ldm.networks import Denoiser
from ldm.training.diffusion import VALIDATION_TIMES, DiffusionTask
from tests.ldm.tiny_model import LATENT_SHAPE, PRESET, diffusion_task, networks

CONFIG = replace(PRESET.train_diffusion, batch_size=8)


class Oracle(nn.Module):
    """Knows the image and the noise, and answers `kind` for each noisy latent, plus `error`."""

    def __init__(self, task: DiffusionTask, samples: dict[str, Tensor], error: float) -> None:
        super().__init__()
        self.task, self.samples, self.error = task, samples, error

    def forward(self, noisy: Tensor, step: Tensor, conditions: Tensor) -> Tensor:
        signal, sigma = (
            torch.from_numpy(values[step.numpy()]).float().view(-1, 1, 1, 1, 1)
            for values in self.task.schedule.levels()
        )
        image, noise = self.samples["latent"], self.samples["noise"]
        torch.testing.assert_close(noisy, signal * image + sigma * noise)
        torch.testing.assert_close(conditions, self.samples["conditions"])
        wanted = {
            "epsilon": noise,
            "v": signal * noise - sigma * image,
            "x0": image,
            "flow": noise - image,
        }
        return wanted[self.task.schedule.prediction] + self.error


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("error", [0.0, 0.5])
def test_the_loss_is_the_mean_squared_error_of_the_prediction(
    tmp_path: Path, prediction: str, error: float
) -> None:
    task = diffusion_task(tmp_path, CONFIG, Schedule(prediction=prediction))
    samples = task.load(np.array([0, 1, 4]), 0, range(3))
    loss, _ = task.loss(Oracle(task, samples, error), samples)
    assert float(loss) == pytest.approx(error**2, abs=1e-10)


class Mistaken(nn.Module):
    """Sees an image that is wrong by `error` everywhere, and says so as the schedule predicts."""

    def __init__(self, samples: dict[str, Tensor], schedule: Schedule, error: float) -> None:
        super().__init__()
        self.image, self.schedule = samples["latent"] + error, schedule

    def forward(self, noisy: Tensor, step: Tensor, *_: Tensor) -> Tensor:
        signal, sigma = (
            torch.from_numpy(values[step.numpy()]).float().view(-1, 1, 1, 1, 1)
            for values in self.schedule.levels()
        )
        epsilon = (noisy - signal * self.image) / sigma
        return target(self.image, epsilon, step, self.schedule)[1]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_min_snr_weighs_the_error_of_the_image_alike_whatever_is_predicted(
    tmp_path: Path, prediction: str
) -> None:
    """Hang et al. 2023 section 3.4: min(SNR, 5) times the squared error of the image."""
    schedule = Schedule(prediction=prediction)
    task = diffusion_task(tmp_path, replace(CONFIG, loss_weighting="min-snr"), schedule)
    samples = task.load(np.array([0, 1, 4, 2]), 0, range(4))
    samples["step"] = torch.tensor([20, 200, 500, 800])
    signal, sigma = (values[samples["step"].numpy()] for values in schedule.levels())
    wanted = float(np.minimum((signal / sigma) ** 2, 5).mean() * 0.25)
    loss, _ = task.loss(Mistaken(samples, schedule, 0.5), samples)
    assert float(loss) == pytest.approx(wanted, rel=2e-3)


def test_validation_has_no_weights_so_that_runs_of_any_weighting_compare(tmp_path: Path) -> None:
    network, cpu = networks()[1], torch.device("cpu")
    schedule = Schedule(prediction="v")
    found = [
        diffusion_task(tmp_path, replace(CONFIG, loss_weighting=how), schedule).validate(
            network, [0, 2], cpu
        )
        for how in WEIGHTINGS
    ]
    assert found[0] == found[1]


def test_logit_normal_times_are_sigmoids_of_a_normal_and_all_else_is_the_same(
    tmp_path: Path,
) -> None:
    """Esser et al. 2024 section 3.1: the logits have mean 0 and deviation 1."""
    plain = diffusion_task(tmp_path, CONFIG, Schedule())
    task = diffusion_task(tmp_path, replace(CONFIG, timesteps="logit-normal"), Schedule())
    zeros = np.zeros(8, dtype=int)
    shares = [(task.load(zeros, s, range(8))["step"] + 0.5) / 1000 for s in range(150)]
    logits = torch.logit(torch.cat(shares))
    assert float(logits.mean()) == pytest.approx(0, abs=0.03)
    assert float(logits.std()) == pytest.approx(1, abs=0.03)
    samples, usual = (one.load(zeros, 3, range(8)) for one in (task, plain))
    assert not torch.equal(samples.pop("step"), usual.pop("step"))
    torch.testing.assert_close(samples, usual, rtol=0, atol=0)
    ends = [time_step(share, Schedule(), "logit-normal") for share in (0.0, 0.5, 1.0)]
    assert ends == [0, 500, 999]


def test_samples_are_a_function_of_seed_step_and_position(tmp_path: Path) -> None:
    task = diffusion_task(tmp_path, CONFIG, Schedule())
    indices = np.array([3, 1, 3, 0, 2, 2, 4, 1])
    whole = task.load(indices, 7, range(8))
    part = task.load(indices[1::2], 7, range(1, 8, 2))
    for name, tensor in whole.items():
        torch.testing.assert_close(part[name], tensor[1::2], rtol=0, atol=0)
    assert whole["latent"].shape == whole["noise"].shape == (8, *LATENT_SHAPE)
    torch.testing.assert_close(whole["conditions"], torch.from_numpy(task.conditions[indices, 0]))
    assert not torch.equal(task.load(indices, 8, range(8))["noise"], whole["noise"])


def test_a_copy_comes_with_its_own_conditions(tmp_path: Path) -> None:
    task = diffusion_task(tmp_path, CONFIG, Schedule())
    stored = np.load(task.paths[0])
    for copy in range(2):
        stored[copy, 0], stored[copy, 1] = copy, -20
    np.save(task.paths[0], stored)
    own = np.arange(2, dtype=np.float32).reshape(1, 2, 1).repeat(task.count, 0).repeat(4, 2)
    bent = DiffusionTask(task.paths, own, (0, 0), (1, 1), Schedule(), CONFIG)
    seen = [bent.load(np.zeros(8, dtype=int), step, range(8)) for step in range(4)]
    latents = torch.cat([samples["latent"] for samples in seen])
    given = torch.cat([samples["conditions"] for samples in seen])
    assert set(given.unique().tolist()) == {0, 1}
    assert torch.allclose(latents.mean(dim=(1, 2, 3, 4)), given[:, 0], atol=0.01)


def test_time_steps_are_spread_over_the_whole_batch(tmp_path: Path) -> None:
    task = diffusion_task(tmp_path, CONFIG, Schedule())
    steps = np.stack(
        [task.load(np.zeros(8, dtype=int), step, range(8))["step"].numpy() for step in range(40)]
    )
    np.testing.assert_array_equal(steps // 125, np.tile(np.arange(8), (40, 1)))
    assert len(np.unique(steps % 125)) > 80


def test_latents_are_drawn_from_the_encoder_s_posterior_and_standardised(tmp_path: Path) -> None:
    """The stored mean is about N(1, 2^2) and log-variance about -5, the task's mean 1, std 2."""
    task = diffusion_task(tmp_path, CONFIG, Schedule())
    drawn = torch.cat(
        [task.load(np.zeros(8, dtype=int), step, range(8))["latent"] for step in range(12)]
    )
    stored = np.load(task.paths[0]).astype(np.float32)
    centres = torch.from_numpy((stored[:, 0] - 1) / 2)
    gaps = (drawn[:, None] - centres[None]).flatten(2).pow(2).mean(-1)
    assert set(gaps.argmin(1).tolist()) == {0, 1}, "each stored copy is used"
    variance = np.exp(stored[:, 1]).mean() / 4
    assert float(gaps.amin(1).mean()) == pytest.approx(variance, rel=0.1)


def test_validation_is_at_fixed_noise_and_its_sums_add_up(tmp_path: Path) -> None:
    task = diffusion_task(tmp_path, CONFIG, Schedule(prediction="v"))
    _, network = networks()
    cpu = torch.device("cpu")
    whole, first, second = (task.validate(network, i, cpu) for i in ([0, 1, 2], [0, 2], [1]))
    assert whole["count"] == 3
    assert whole["loss"] == pytest.approx(first["loss"] + second["loss"])
    assert task.validate(network, [0, 1, 2], cpu) == whole


def test_validation_visits_all_noise_levels_and_not_the_training_s_noise(tmp_path: Path) -> None:
    task = diffusion_task(tmp_path, CONFIG, Schedule())
    seen: list[tuple[Tensor, list[int]]] = []

    class Silent(nn.Module):
        def forward(self, noisy: Tensor, step: Tensor, conditions: Tensor) -> Tensor:
            seen.append((noisy, step.tolist()))
            return torch.zeros_like(noisy)

    loss = task.validate(Silent(), [4], torch.device("cpu"))["loss"]
    assert loss == pytest.approx(1.0, abs=0.2)  # the mean square of the noise itself
    assert seen[0][1] == [int(share * 999) for share in VALIDATION_TIMES]


DROPPING = replace(CONFIG, condition_dropout=0.25)


def test_dropout_changes_nothing_else_of_a_sample(tmp_path: Path) -> None:
    plain = diffusion_task(tmp_path, CONFIG, Schedule()).load(np.arange(5), 3, range(5))
    samples = diffusion_task(tmp_path, DROPPING, Schedule()).load(np.arange(5), 3, range(5))
    assert samples.pop("dropped").dtype == torch.bool
    torch.testing.assert_close(samples, plain, rtol=0, atol=0)


def test_the_share_that_is_dropped_is_the_one_asked_for(tmp_path: Path) -> None:
    task = diffusion_task(tmp_path, DROPPING, Schedule())
    zeros = np.zeros(8, dtype=int)
    dropped = torch.cat([task.load(zeros, step, range(8))["dropped"] for step in range(150)])
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.05)
    part = task.load(zeros[1::2], 7, range(1, 8, 2))["dropped"]
    assert torch.equal(task.load(zeros, 7, range(8))["dropped"][1::2], part)


def test_what_is_dropped_reaches_the_network_and_hides_the_conditions(tmp_path: Path) -> None:
    task = diffusion_task(tmp_path, DROPPING, Schedule())
    network = with_null(networks()[1])
    samples = task.load(np.array([0, 1, 2]), 0, range(3))
    losses = []
    for shift in (0.0, 1.0):
        for dropped in (False, True):
            changed = {
                **samples,
                "conditions": samples["conditions"] + shift,
                "dropped": torch.full((3,), dropped),
            }
            losses.append(float(task.loss(network, changed)[0].detach()))
    given, hidden, moved, still_hidden = losses
    assert hidden == still_hidden
    assert len({given, moved, hidden}) == 3


def lacking(folder: Path, changed: float = 0.0) -> DiffusionTask:
    """Subject 1 lacks its second condition, which would be another with `changed`."""
    task = diffusion_task(folder, DROPPING, Schedule())
    conditions = task.conditions[:, 0].copy()
    conditions[1, 1] = np.nan
    if changed:
        conditions[0, 1] += changed
    return DiffusionTask(task.paths, conditions, (1, 1), (2, 2), Schedule(), DROPPING)


def test_a_condition_that_a_subject_lacks_is_dropped_alone(tmp_path: Path) -> None:
    whole, task = diffusion_task(tmp_path, DROPPING, Schedule()), lacking(tmp_path)
    plain, samples = (one.load(np.arange(5), 3, range(5)) for one in (whole, task))
    dropped = plain.pop("dropped")
    found = samples.pop("dropped")
    assert found.shape == (5, 4)
    expected = dropped[:, None].repeat(1, 4)
    expected[1, 1] = True
    assert torch.equal(found, expected)
    conditions = samples.pop("conditions")
    assert torch.isfinite(conditions).all()
    there = ~torch.isnan(torch.from_numpy(np.where(task.unknown[:, 0], np.nan, 0.0)))
    torch.testing.assert_close(conditions[there], plain.pop("conditions")[there], rtol=0, atol=0)
    torch.testing.assert_close(samples, plain, rtol=0, atol=0)


def test_what_a_subject_lacks_reads_as_the_null_condition_and_the_rest_as_it_is() -> None:
    network = with_null(networks()[1])
    latent = torch.randn(1, *LATENT_SHAPE)
    step, conditions = torch.tensor([3]), torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    mask = torch.tensor([[False, True, False, False]])
    null = network.condition_mean + network._null() * network.condition_std
    told = torch.where(mask, null, conditions)
    with torch.inference_mode():
        found = network(latent, step, conditions, mask)
        torch.testing.assert_close(found, network(latent, step, told))
        assert not torch.allclose(found, network(latent, step, conditions))


def test_validation_of_a_subject_who_lacks_a_condition_does_without_it(tmp_path: Path) -> None:
    network, cpu = with_null(networks()[1]), torch.device("cpu")
    one, other = (lacking(tmp_path, change).validate(network, [1], cpu) for change in (0.0, 1.0))
    assert np.isfinite(one["loss"])
    assert one == other
    both = [lacking(tmp_path, change).validate(network, [0], cpu)["loss"] for change in (0.0, 1.0)]
    assert both[0] != both[1]


def test_validation_tells_the_loss_without_conditions_too(tmp_path: Path) -> None:
    network, cpu = with_null(networks()[1]), torch.device("cpu")
    plain = diffusion_task(tmp_path, CONFIG, Schedule()).validate(network, [0, 3], cpu)
    found = diffusion_task(tmp_path, DROPPING, Schedule()).validate(network, [0, 3], cpu)
    assert found["loss"] == plain["loss"]
    assert found["loss_unconditional"] != found["loss"]
    assert plain.keys() == {"loss", "count"}


def with_null(network: Denoiser) -> Denoiser:
    """The same weights in a network that knows what a dropped condition reads."""
    other = Denoiser(replace(network.config, null_condition=-4.0))
    other.load_state_dict(network.state_dict())
    return other
