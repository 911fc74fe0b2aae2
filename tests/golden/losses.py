"""The recorded loss curves of the tiny networks; run this file to record them again."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from ldm.diffusion.schedule import Schedule
from ldm.networks import Autoencoder, Denoiser
from ldm.training.loop import train
from tests.ldm.tiny_model import PRESET, autoencoder_task, diffusion_task, new_state

FOLDER = Path(__file__).parent
STEPS = 30


def curves(folder: Path) -> dict[str, np.ndarray]:
    """Every recorded curve, made now: the loss of each step, (STEPS,)."""
    first = replace(PRESET.train_autoencoder, steps=STEPS, warmup_steps=5)
    second = replace(PRESET.train_diffusion, steps=STEPS, warmup_steps=5, learning_rate=3e-3)
    runs = {
        "loss_autoencoder.txt": (Autoencoder, autoencoder_task(folder, first), first),
        "loss_diffusion_epsilon.txt": (
            Denoiser,
            diffusion_task(folder, second, Schedule()),
            second,
        ),
        "loss_diffusion_v.txt": (Denoiser, diffusion_task(folder, second, PRESET.schedule), second),
    }
    return {
        name: np.array([step.losses["loss"] for step in train(new_state(network, config), task)])
        for name, (network, task, config) in runs.items()
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for name, losses in curves(Path(scratch)).items():
            np.savetxt(FOLDER / name, losses, fmt="%.6g")
