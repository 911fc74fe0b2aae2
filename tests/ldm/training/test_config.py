"""Training configs: checked at birth, and what makes two runs the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ldm.errors import LdmError
from ldm.training.config import TrainingConfig

CONFIG = TrainingConfig(steps=10, batch_size=4, learning_rate=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps 0: expected at least 1"),
        ({"batch_size": 0}, "batch_size 0: expected at least 1"),
        ({"save_every": 0}, "save_every 0: expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate 0.0: expected a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate nan"),
        ({"ema_decay": 1.0}, "ema_decay 1.0: expected 0 <= ema_decay < 1"),
        ({"precision": "fp16"}, "precision 'fp16': expected one of"),
        ({"micro_batch": -1}, "micro_batch -1: expected at least 0"),
        ({"warmup_steps": -1}, "warmup_steps -1: expected at least 0"),
        ({"loss_weighting": "snr"}, "loss_weighting 'snr': expected none or min-snr"),
        ({"timesteps": "cosine"}, "timesteps 'cosine': expected uniform or logit-normal"),
        ({"clip_norm": 0.0}, "clip_norm 0.0: expected a positive number"),
    ],
)
def test_an_impossible_config_is_refused_at_birth(changes: dict, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        replace(CONFIG, **changes)


def test_a_config_survives_json() -> None:
    assert TrainingConfig.from_json(CONFIG.to_json()) == CONFIG


def test_only_the_length_and_the_saving_may_change_within_a_run() -> None:
    assert replace(CONFIG, steps=99, save_every=5).identity() == CONFIG.identity()
    for changes in ({"seed": 1}, {"batch_size": 8}, {"learning_rate": 1e-4}, {"kl_weight": 1.0}):
        assert replace(CONFIG, **changes).identity() != CONFIG.identity()


def test_what_earlier_runs_did_not_know_makes_no_other_run_until_it_is_used() -> None:
    later: dict[str, Any] = {
        "loss_weighting": "min-snr",
        "timesteps": "logit-normal",
    }
    later |= {"adversarial_warmup": 5}
    assert not later.keys() & CONFIG.identity().keys()
    for name, value in later.items():
        assert replace(CONFIG, **{name: value}).identity() == {**CONFIG.identity(), name: value}
    earlier = {k: v for k, v in CONFIG.to_json().items() if k not in later}
    assert TrainingConfig.from_json(earlier) == CONFIG
