"""The batch that a device's memory holds, from the networks' configurations."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ldm.loading import describe
from ldm.models.memory import LARGEST_BATCH, batch_size, decoding_bytes, sampling_bytes
from ldm.training.presets import paper
from ldm.volumes.grid import Grid

GIB = 2**30
PAPER_BYTES = 553_168_899 * 4 + 13_766_248 * 4


def described(grid: Grid | None = None) -> Any:
    """What a model of the paper's size says of itself."""
    chosen = paper()
    return SimpleNamespace(
        autoencoder=chosen.autoencoder.to_json(),
        denoiser=chosen.denoiser.to_json(),
        grid=grid or chosen.grid,
        files={"denoiser.safetensors": {"bytes": PAPER_BYTES}},
    )


def test_the_papers_network_fills_a_batch_on_large_gpus_and_none_on_a_small_one() -> None:
    found = {gib: batch_size(described(), gib * GIB) for gib in (80, 40, 24, 16, 8)}
    assert found == {80: LARGEST_BATCH, 40: LARGEST_BATCH, 24: LARGEST_BATCH, 16: 1, 8: 1}


def test_decoding_at_full_size_is_what_the_widest_layers_hold() -> None:
    assert decoding_bytes(described()) == 4 * 4 * 128 * 160 * 224 * 160


def test_a_larger_grid_takes_more_and_so_fewer_at_once() -> None:
    large = described(replace(paper().grid, shape=(320, 448, 320)))
    assert sampling_bytes(large) == pytest.approx(8 * sampling_bytes(described()), rel=0.02)
    assert batch_size(large, 80 * GIB) < batch_size(described(), 80 * GIB) == LARGEST_BATCH


def test_the_demo_model_fills_a_batch_on_any_gpu() -> None:
    assert batch_size(describe("demo"), 4 * GIB) == LARGEST_BATCH
