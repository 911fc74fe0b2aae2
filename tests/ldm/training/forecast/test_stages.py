"""What a training step takes, calculated without data, against what it is seen to take."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from ldm.training.forecast.memory import BYTES_A_PARAMETER
from ldm.training.forecast.stages import Stage, autocast, autoencoder, decoder, diffusion, forecast
from ldm.training.presets import demo, tiny


def seen(stage: Stage, count: int, precision: str) -> tuple[int, float]:
    """Bytes kept for the way back, and operations, of a step that is really computed."""
    kept: dict[int, tuple[Tensor, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            kept[storage.data_ptr()] = (tensor, storage.nbytes())
        return tensor

    with FlopCounterMode(display=False) as counter, autocast(precision):
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = stage.loss(count)
        held = sum(size for _, size in kept.values())
        loss.backward()
    return held, counter.get_total_flops() / count


@pytest.mark.parametrize("make", [autoencoder, diffusion, decoder])
def test_the_calculation_is_what_a_real_step_takes(make: object) -> None:
    preset = tiny()
    config = replace(preset.train_autoencoder, precision="fp32")
    torch.manual_seed(0)
    found = forecast(make, preset, config, 3)  # type: ignore[arg-type]
    stage: Stage = make(preset, config)  # type: ignore[operator]
    held, operations = seen(stage, 3, "fp32")
    assert found.parameters == sum(p.numel() for p in stage.network.parameters())
    assert found.held == pytest.approx(held + BYTES_A_PARAMETER * found.parameters, rel=0.02)
    assert found.operations == pytest.approx(operations, rel=0.01)


def test_terms_and_checkpointing_change_what_is_held() -> None:
    preset = demo()
    plain = replace(preset.train_autoencoder, perceptual_weight=0.0, adversarial_weight=0.0)
    whole = replace(plain, perceptual_weight=0.1, adversarial_weight=0.01)
    less, more = (forecast(autoencoder, preset, config, 2).held for config in (plain, whole))
    assert more > 1.01 * less
    saved = forecast(autoencoder, preset, replace(plain, activation_checkpointing=True), 2).held
    assert saved < 0.8 * less
