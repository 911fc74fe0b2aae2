"""What a training run leaves of its validation: every figure as a curve, the main ones in words."""

from __future__ import annotations

import json
from pathlib import Path

from ldm.training.config import TrainingConfig
from ray_jobs.training.worker import LOG, Curves


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
