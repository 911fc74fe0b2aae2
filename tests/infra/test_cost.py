"""The calculator of the runbook: its arithmetic, and that the runbook shows what it prints."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ldm.networks.refiner import noise_shape
from ldm.training.presets import preset
from tests.infra.files import INFRA, text


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cost", INFRA / "cost.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_volume_is_87_7_tflop_at_50_steps_and_mostly_decoding_at_10(cost: ModuleType) -> None:
    assert cost.tflop(50) == pytest.approx(87.7)
    assert cost.TFLOP_DECODE / cost.tflop(10) == pytest.approx(0.51, abs=0.005)


def test_the_paper_preset_s_refiner_is_counted_by_its_own_network(cost: ModuleType) -> None:
    paper = preset("paper")
    channels, shape = paper.autoencoder.latent_channels, paper.grid.shape
    with torch.device("meta"):
        cells = torch.empty(1, *noise_shape(shape))
        latent = torch.empty(1, channels, *(side // paper.autoencoder.factor for side in shape))
        with FlopCounterMode(display=False) as counted:
            paper.refiner.build(channels)(cells, torch.empty(1), cells, latent)
    a_call = counted.get_total_flops() / 1e12
    assert a_call == pytest.approx(cost.TFLOP_PER_REFINER_CALL, abs=5e-4)
    calls = paper.refiner.steps
    assert f"{cost.tflop(10, calls):.1f} TFLOP a volume" in text("README.md")
    assert cost.estimate("L4", n=1, gpus=1, steps=10, refiner_calls=calls).rate == pytest.approx(
        121 * 0.3 / cost.tflop(10, calls)
    )


def test_hours_follow_from_peak_share_and_number(cost: ModuleType) -> None:
    found = cost.estimate("A100", n=100_000, gpus=8, share=0.5)
    assert found.rate == pytest.approx(312 * 0.5 / 87.7)
    assert found.gpu_hours == pytest.approx(100_000 * 87.7 / 156 / 3600)
    assert found.hours == pytest.approx(found.gpu_hours / 8)
    assert not found.measured


def test_a_measured_rate_takes_the_place_of_the_calculated_one(
    cost: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cost.estimate("L4", n=3600, gpus=1, rate=2.0).gpu_hours == pytest.approx(0.5)
    monkeypatch.setitem(cost.MEASURED, "L4", 1.0)
    assert cost.estimate("L4", n=3600, gpus=1).measured
    assert not cost.estimate("L4", n=3600, gpus=1, steps=10).measured, "measured at 50 steps"
    assert "| 1.00 | 28 | 3.5 | measured |" in cost.table(n=100_000, gpus=8)


def test_the_runbook_shows_what_the_calculator_prints() -> None:
    done = subprocess.run(
        [sys.executable, INFRA / "cost.py", "--n", "100000", "--gpus", "8"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout in text("README.md")
