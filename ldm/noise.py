"""All randomness: a standard normal array, or a generator, as a function of integer keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The first integer of a key says what the noise is for, so that no two uses share a stream.
COVARIATES, LATENT, STEP, TRAINING, ORDER, AUGMENT = range(6)


def generator(*key: int) -> np.random.Generator:
    """A counter-based generator (Philox) whose stream is the key's alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([abs(k) for k in key])))


def normal(shape: Sequence[int], *key: int) -> np.ndarray:
    """N(0, 1) of `shape`, float32."""
    return generator(*key).standard_normal(tuple(shape), dtype=np.float32)
