"""What whoever watches a fit is shown, on a terminal and in a log."""

from __future__ import annotations

import io
import re

import pytest

from ldm.training.config import TrainingConfig
from ray_jobs.training.fitting.screen import Screen
from tests.ray_jobs.test_progress import Clock, Terminal, shown

TOLD = {"device": "CPU", "world": 1, "parameters": 5_400_000, "samples": 131}


def watch(stream: io.StringIO, *, seconds: int = 40) -> None:
    """Two steps a second, a look at held-out people after every 20th."""
    clock = Clock()
    config = TrainingConfig(steps=400, batch_size=2, learning_rate=1e-4, save_every=20)
    screen = Screen("diffusion", config, "run", threads=2, stream=stream, clock=clock)
    screen.begun(0, TOLD)
    for step in range(1, 2 * seconds + 1):
        clock.now = step / 2
        screen.step(step, {"loss": 1 / step, "other": 2.0})
        if step % 20 == 0:
            screen.validated(step, {"loss": 0.5, "power_0.26_0.30": 1.0, "psnr": 30.0})
    screen.close()


def test_a_log_has_a_head_what_it_will_take_and_few_dated_lines() -> None:
    stream = io.StringIO()
    watch(stream)
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ  ", line) for line in lines)
    told = [line.partition("Z  ")[2] for line in lines]
    assert told[0] == (
        "training: diffusion, 5.4 million parameters, bf16, 1 worker on CPU, 2 threads"
    )
    assert told[1] == (
        "400 steps of 2, 6.11 passes over 131 samples; held-out people, a checkpoint and a preview "
        "every 20 steps: run/previews"
    )
    (foretold,) = [line for line in told if "looks at held-out people not counted" in line]
    assert foretold.startswith("2.0 steps/s: some 3 min left, until about ")
    assert len(told) == 9
    assert told[-2] == (
        "step  68/400  17 %  2.0 steps/s  3 min left  loss 0.01471, other 2  "
        "held out at 60: loss 0.5, psnr 30"
    )
    assert told[-1] == "step 80/400: loss 0.0125, other 2  held out at 80: loss 0.5, psnr 30"


def test_a_terminal_has_one_bar_with_the_loss_and_the_held_out_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    watch(stream)
    told = shown(stream)
    bars = [part for part in re.split(r"[\r\n]+", told) if "━" in part]
    assert max(map(len, bars)) <= 100
    assert bars[-1].endswith(" 80/400  20 %  in 40 s  loss 0.0125  held out loss 0.5")
    assert "2.0 steps/s  3 min left  loss 0.01266  held out loss 0.5" in told
    assert told.count("training: diffusion") == 1


def test_after_a_death_the_bar_begins_at_the_checkpoint_and_the_head_is_not_told_again() -> None:
    stream, clock = io.StringIO(), Clock()
    config = TrainingConfig(steps=40, batch_size=2, learning_rate=1e-4)
    screen = Screen("diffusion", config, "run", stream=stream, clock=clock)
    screen.say("starting 1 worker ...")
    for start in (0, 10):
        screen.begun(start, TOLD)
        for step in range(start + 1, start + 13):
            clock.now += 0.5
            screen.step(step, {"loss": 0.5})
    screen.close()
    told = stream.getvalue()
    assert told.startswith("starting 1 worker ...\n")
    assert told.count("training: ") == 1
    assert "step  20/40  50 %  2.0 steps/s  10 s left" in told
