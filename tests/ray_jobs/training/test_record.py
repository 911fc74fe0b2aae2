"""What a run leaves of what its workers tell: curves, previews and a log; and what is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ldm.training.config import TrainingConfig
from ray_jobs.training.fitting.record import CRITIC_LOSS, LOG, Record
from ray_jobs.training.fitting.screen import Screen
from ray_jobs.work_folder import WorkFolder

FOUND = {"psnr": 30.0, "power_0.26_0.30": 0.5, "kurtosis_0.26_0.30": -0.1, "train_l1": 0.1}


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def recording(folder: Path, steps: int) -> Record:
    config = TrainingConfig(steps=steps, batch_size=4, learning_rate=1e-4)
    return Record(WorkFolder(str(folder)), Screen("autoencoder", config, "run"))


def undated(text: str) -> list[str]:
    return [re.sub(r"^20[-0-9 :]+Z  ", "", line) for line in text.splitlines()]


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_figures_by_band_are_curves_and_the_rest_is_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = recording(tmp_path, 10)
    record.take({"begun": 0, "at": 0.0})
    record.take({"validated": 5, "found": FOUND, "image": b"png", "at": 1.0})
    record.close()
    assert scalars(tmp_path, "validation/power_0.26_0.30") == [(5, 0.5)]
    assert (tmp_path / "previews" / "step-000005.png").read_bytes() == b"png"
    (line,) = undated(capsys.readouterr().err)
    assert line == "step 5/10: held out at 5: psnr 30"


def test_after_a_death_curves_go_on_from_the_checkpoint_and_everybody_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = recording(tmp_path, 30)
    record.take({"begun": 0, "at": 0.0})
    for step in (1, 2, 3):
        record.take({"step": step, "losses": {"loss": 0.5}, "at": 2.0 * step})
    record.take({"failed": {1: "CUDA error", 2: "the loss is nan"}})
    record.take({"begun": 2, "at": 100.0})  # of another machine's clock
    record.take({"step": 3, "losses": {"loss": 0.25}, "at": 110.0})
    record.close()
    assert scalars(tmp_path, "train/loss") == [(1, 0.5), (2, 0.5), (3, 0.25)]
    assert undated(capsys.readouterr().err) == [
        "worker 1: CUDA error; worker 2: the loss is nan; the workers start again from the last "
        "checkpoint",
        "goes on from step 2/30",
        "step 3/30: loss 0.25",
    ]
    assert [line.get("rate") for line in lines(tmp_path)] == [0.5, None, None, 0.1]


def test_a_critic_that_wins_is_told_once_also_over_restarts(tmp_path: Path) -> None:
    for start in (0, 1_000):
        record = recording(tmp_path, 5_000)
        record.take({"begun": start, "at": 0.0})
        for step in range(start + 1, start + 1_001):
            record.take({"step": step, "losses": {"loss": 0.1, CRITIC_LOSS: 0.001}, "at": 0.0})
        record.close()
    (alarm,) = [str(line["alarm"]) for line in lines(tmp_path) if "alarm" in line]
    assert alarm.startswith("the critic wins: its loss has been about 0.001 for 200")


def test_a_line_that_a_killed_driver_left_unfinished_spoils_no_later_one(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"resumed": 1, "steps": 9}\n{"step": 2, "st')
    record = recording(tmp_path, 9)
    record.take({"begun": 5, "at": 0.0})
    record.close()
    found = (tmp_path / LOG).read_text().splitlines()
    assert json.loads(found[-1]) == {"resumed": 5, "steps": 9}
