"""The noise schedule against MONAI's, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ldm.diffusion.schedule import (
    PREDICTIONS,
    Schedule,
    even_times,
    log_snr_times,
    step_pairs,
)
from ldm.errors import LdmError


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(steps=40, beta_end=0.3)])
def test_alphas_bar_are_those_of_monai(schedule: Schedule) -> None:
    from monai.networks.schedulers import DDPMScheduler

    theirs = DDPMScheduler(
        num_train_timesteps=schedule.steps,
        schedule="scaled_linear_beta",
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
    )
    np.testing.assert_allclose(schedule.alphas_bar(), theirs.alphas_cumprod.numpy(), rtol=1e-4)


def test_the_signal_only_shrinks_and_at_the_end_next_to_nothing_is_left() -> None:
    alphas_bar = Schedule().alphas_bar()
    assert (np.diff(alphas_bar) < 0).all()
    assert alphas_bar[0] == pytest.approx(1 - 0.0015)
    assert alphas_bar[-1] < 2e-4


def test_a_schedule_survives_json() -> None:
    schedule = Schedule(steps=10, beta_start=0.01, beta_end=0.1, prediction="v")
    assert Schedule.from_json(schedule.to_json()) == schedule


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prediction": "x1"}, "prediction 'x1': expected one of"),
        ({"steps": 0}, "schedule of 0 steps"),
        ({"beta_start": 0.1, "beta_end": 0.01}, "beta_start <= beta_end"),
        ({"beta_start": 0.0}, "0 < beta_start"),
        ({"beta_end": 1.0}, "beta_end < 1"),
    ],
)
def test_an_impossible_schedule_is_refused_at_birth(fields: dict, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        Schedule(**fields)


def test_the_paper_s_50_steps_are_980_960_down_to_0() -> None:
    assert step_pairs(1000, 50) == [(t, t - 20 if t else -1) for t in range(980, -1, -20)]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_no_sampler_begins_where_noise_alone_is_no_stand_in(prediction: str) -> None:
    schedule = Schedule(prediction=prediction)
    signal, _ = schedule.levels()
    for truncation in (0, 250):
        cut = replace(schedule, truncation=truncation)
        for count in (1, 2, 3, 4, 5, 8, 20, 50, 1000 - truncation):
            for times in (even_times(cut, count), log_snr_times(cut, count)):
                assert signal[times[0]] <= 0.2
                assert times == sorted(set(times), reverse=True)
                assert len(times) == count
                assert not truncation or count == 1 or times[-1] == truncation


def test_the_few_steps_that_begin_too_late_are_trailing_and_all_others_are_as_they_were() -> None:
    for prediction, few in (("epsilon", 2), ("v", 2), ("x0", 2), ("flow", 4)):
        schedule = Schedule(prediction=prediction)
        for count in range(1, 101):
            usual = [t for t, _ in step_pairs(1000, count)]
            trailing = [1000 * i // count - 1 for i in range(count, 0, -1)]
            assert even_times(schedule, count) == (trailing if count <= few else usual)


def test_as_many_steps_as_were_trained_visit_them_all() -> None:
    assert step_pairs(7, 7) == [(t, t - 1) for t in range(6, -1, -1)]


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_too_few_or_too_many_steps_are_refused(steps: int) -> None:
    with pytest.raises(LdmError, match=f"{steps} sampling steps: expected between 1 and 1000"):
        step_pairs(1000, steps)
