"""A run that trains a measuring tool's network: checkpoints, a log, resumed by the same call."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ldm.errors import LdmError
from ldm.folders import replace_folder
from ldm.measuring.fitting.subjects import UNSEEN_SHARE
from ldm.training.config import TrainingConfig
from ldm.training.loop import Task, TrainingState, train


def trained(
    network: nn.Module,
    task: Task,
    config: TrainingConfig,
    out: Path,
    identity: dict[str, Any],
    tell: Callable[[str], object],
) -> nn.Module:
    """The averaged network after the run's last step.

    Args:
        out: of the run; where it holds the run's checkpoint, that is gone on from.
        identity: what the run is, as JSON.
        tell: takes a line of JSON with the losses at each checkpoint.

    Raises:
        LdmError: `out` holds another run.
    """
    state = TrainingState(network, config, torch.device("cpu"))
    done, log = out / "checkpoint", out / "log.jsonl"
    if done.is_dir():
        meta = state.restore(done)
        if meta["identity"] != identity:
            raise LdmError(f"{out} holds another run: give another folder")
    begun, first, since = time.monotonic(), state.step, list[dict[str, float]]()
    for step in train(state, task):
        since.append(step.losses)
        if step.number % config.save_every and step.number != config.steps:
            continue
        _save(state, done, {"identity": identity})
        pace = (time.monotonic() - begun) / (step.number - first)
        means = {n: round(sum(one[n] for one in since) / len(since), 4) for n in step.losses}
        since.clear()
        line = json.dumps({"step": step.number, "seconds_a_step": round(pace, 2), **means})
        with log.open("a") as stream:
            stream.write(line + "\n")
        tell(line)
    return state.average


def card_of(bids: Path, command: str, identity: dict[str, Any]) -> dict[str, Any]:
    """A tool's card: the cohort's licence, how the tool was trained, who was held out.

    Args:
        identity: with `config` and the names of `subjects`; and `from`, if it began with another.
    """
    description = {}
    path = bids / "dataset_description.json"
    if path.is_file():
        found = json.loads(path.read_text())
        names = {"Name": "dataset", "License": "license", "HowToAcknowledge": "attribution"}
        description = {ours: found[theirs] for theirs, ours in names.items() if theirs in found}
    real = [name for name in identity["subjects"] if not name.startswith("virtual-")]
    return {
        **description,
        "training": {
            "command": command,
            **({"from": identity["from"]} if "from" in identity else {}),
            "real_subjects": len(real),
            "config": identity["config"],
        },
        "split": {
            "function": "ldm.split.held_out(participant_id, share)",
            "unseen_share": UNSEEN_SHARE,
        },
    }


def _save(state: TrainingState, folder: Path, meta: dict[str, Any]) -> None:
    """The checkpoint at a side name, then in the place of the last."""
    side = folder.with_name(".checkpoint")
    shutil.rmtree(side, ignore_errors=True)
    state.save(side, meta)
    replace_folder(side, folder)
