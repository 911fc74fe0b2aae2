"""Which samples a training step sees: a pure function of the seed and the step."""

from __future__ import annotations

import numpy as np

from ldm import noise


def batch(seed: int, step: int, size: int, count: int) -> np.ndarray:
    """Indices (size,) into `count` samples; every epoch is a new order of all of them.

    Stateless: step 1000 of a resumed run sees what it would have seen undisturbed.
    """
    positions = np.arange(step * size, (step + 1) * size)
    epochs, places = np.divmod(positions, count)
    orders = {epoch: _order(seed, int(epoch), count) for epoch in np.unique(epochs)}
    picks = [orders[e][p] for e, p in zip(epochs, places, strict=True)]
    return np.array(picks, dtype=np.int64)


def share(size: int, rank: int, world: int) -> range:
    """The positions in a batch of `size` that worker `rank` of `world` computes."""
    return range(rank, size, world)


def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return noise.generator(noise.ORDER, seed, epoch).permutation(count)
