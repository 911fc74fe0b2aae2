"""What a worker's process is given: its threads, its credentials, its number format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# One thread a worker on a CPU: how sums are split over threads must never change a bit.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Secrets(dict[str, str]):
    """Environment variables on their way to a worker; their values are never shown."""

    def __repr__(self) -> str:
        return f"Secrets({sorted(self)})"

    def __reduce__(self) -> tuple[type[Secrets], tuple[dict[str, str]]]:
        return Secrets, (dict(self),)


def prepare_process(device: str, environment: Mapping[str, str]) -> None:
    """Set the environment, before torch is imported and reads it."""
    os.environ.update(environment)
    if device == "cpu":
        os.environ.update(ONE_THREAD)


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Compute on one thread on a CPU; OpenMP keeps its number for each calling thread."""
    if device != "cpu":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resolve_precision(device: str, environment: Mapping[str, str]) -> str:
    """The number format that a worker's device computes in natively; runs on a worker."""
    prepare_process(device, environment)
    from ldm.precision import resolve

    return resolve("auto", device)
