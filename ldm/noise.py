"""All randomness: a standard normal array, or a generator, as a function of integer keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# The first integer of a key says what the noise is for, so that no two uses share a stream.
COVARIATES, LATENT, STEP, TRAINING, ORDER, AUGMENT, SLICES, EVALUATION, REFINE = range(9)


def generator(*key: int) -> np.random.Generator:
    """A counter-based generator (Philox) whose stream is the key's alone.

    The key is hashed, because NumPy's seeding takes (1, 2), (1, 2, 0) and, past 32 bits, many
    other keys for the same one.
    """
    digest = hashlib.sha256(repr([int(k) for k in key]).encode()).digest()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(int.from_bytes(digest))))


def normal(shape: Sequence[int], *key: int) -> np.ndarray:
    """N(0, 1) of `shape`, float32."""
    return generator(*key).standard_normal(tuple(shape), dtype=np.float32)
