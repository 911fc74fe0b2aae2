"""The batch that a device's memory holds, from the networks' configurations."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ldm.loading import describe
from ldm.models.memory import (
    LARGEST_BATCH,
    batch_size,
    decoding_bytes,
    decoding_rows,
    sampling_bytes,
    slabbed_bytes,
)
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
    assert found.pop(8) == 1
    assert set(found.values()) == {LARGEST_BATCH}


def test_a_gpu_of_16_gb_decodes_the_papers_volumes_in_slabs_and_one_of_24_whole() -> None:
    found = {gib: decoding_rows(described(), int(gib * GIB)) for gib in (80, 24, 15.8, 14.6, 8)}
    rows = list(found.values())
    assert rows[:2] == [None, None]
    assert 160 > rows[2] >= rows[3] > rows[4] >= 1
    assert slabbed_bytes(described()) == decoding_bytes(described()) / 2
    assert decoding_rows(describe("demo"), 4 * GIB) is None


def test_decoding_at_full_size_is_what_the_widest_layers_hold() -> None:
    assert decoding_bytes(described()) == 4 * 4 * 128 * 160 * 224 * 160


def test_a_larger_grid_takes_more_and_so_fewer_at_once() -> None:
    large = described(replace(paper().grid, shape=(320, 448, 320)))
    assert sampling_bytes(large) == pytest.approx(8 * sampling_bytes(described()), rel=0.02)
    assert batch_size(large, 40 * GIB) < batch_size(described(), 40 * GIB) == LARGEST_BATCH


def test_the_demo_model_fills_a_batch_on_any_gpu() -> None:
    assert batch_size(describe("demo"), 4 * GIB) == LARGEST_BATCH
