"""What holds for the batches of any training run."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm.training.batches import batch, share

SEEDS, SIZES, COUNTS = st.integers(0, 2**40), st.integers(1, 40), st.integers(1, 60)


@given(SEEDS, SIZES, COUNTS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_epoch_sees_every_sample_once(seed: int, size: int, count: int, epoch: int) -> None:
    first, last = epoch * count // size, -(-(epoch + 1) * count // size)
    seen = np.concatenate([batch(seed, step, size, count) for step in range(first, last)])
    start = epoch * count - first * size
    assert sorted(seen[start : start + count]) == list(range(count))


@given(SEEDS, SIZES, COUNTS, st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_step_s_batch_is_the_same_whenever_it_is_asked_for(
    seed: int, size: int, count: int, step: int
) -> None:
    found = batch(seed, step, size, count)
    batch(seed + 1, step + 1, size, count)
    assert found.shape == (size,)
    np.testing.assert_array_equal(found, batch(seed, step, size, count))


@given(st.integers(0, 200), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_shares_partition_a_batch(size: int, world: int) -> None:
    positions = [p for rank in range(world) for p in share(size, rank, world)]
    assert sorted(positions) == list(range(size))


def test_epochs_and_seeds_are_ordered_differently() -> None:
    orders = {tuple(batch(seed, epoch, 30, 30)) for seed in (0, 1) for epoch in range(4)}
    assert len(orders) == 8
