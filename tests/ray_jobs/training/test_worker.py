"""What a training run leaves of its validation: every figure as a curve, the main ones in words."""

from __future__ import annotations

import json
from pathlib import Path

from ldm.training.config import TrainingConfig
from ldm.training.loop import Step
from ray_jobs.training.fit import _sentence
from ray_jobs.training.worker import CRITIC_LOSS, LOG, Curves


def test_figures_by_band_are_curves_and_the_rest_is_told_in_words(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = Curves(tmp_path, 0, TrainingConfig(steps=10, batch_size=1, learning_rate=1e-3))
    found = {"psnr": 30.0, "power_0.26_0.30": 0.5, "kurtosis_0.26_0.30": -0.1, "train_l1": 0.1}
    curves.validation(5, found, b"")
    curves.close()
    (line,) = (tmp_path / LOG).read_text().splitlines()
    assert json.loads(line)["values"] == {"validation psnr": 30.0}
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "validation/psnr",
        "validation/power_0.26_0.30",
        "validation/kurtosis_0.26_0.30",
    }
    (value,) = events.Scalars("validation/power_0.26_0.30")
    assert (value.step, value.value) == (5, 0.5)


def test_a_critic_that_wins_is_told_once_also_over_restarts(tmp_path: Path) -> None:
    config = TrainingConfig(steps=5_000, batch_size=1, learning_rate=1e-3)
    for start in (0, 1_000):
        curves = Curves(tmp_path, start, config)
        for number in range(start, start + 1_000):
            curves.step(Step(number=number + 1, losses={"loss": 0.1, CRITIC_LOSS: 0.001}))
        curves.close()
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    (told,) = [_sentence(line) for line in lines if "alarm" in line]
    assert told.startswith("step 200/5000: the critic wins: its loss has been about 0.001 for 200")
