"""What a worker's process is given: its threads, its number format."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ray_jobs.generation.options import Kind

# One thread a worker on a CPU: how sums are split over threads must never change a bit.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


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


@dataclass(frozen=True, kw_only=True)
class Place:
    """One device of one machine; what failures are counted by.

    Attributes:
        node: Ray's identity of the machine; empty outside Ray.
        host: the machine's name.
        device: "GPU 3", by the machine's own numbers; "GPU 0+1" of a worker that has two; "CPU".
    """

    node: str = ""
    host: str
    device: str

    def __str__(self) -> str:
        return f"{self.host} {self.device}"


def here(device: str) -> Place:
    """The place of this process, outside Ray.

    Args:
        device: "cpu" or "cuda", what it computes on.
    """
    return Place(host=socket.gethostname(), device="CPU" if device == "cpu" else "GPU")


def kind_of(device: str) -> Kind:
    """The kind of this process's device."""
    import torch

    accelerator = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    if device == "cuda":
        accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "GPU"
    return Kind(accelerator=accelerator, torch=str(torch.__version__))


@dataclass(frozen=True, kw_only=True)
class Native:
    """What a worker's device offers.

    Attributes:
        precision: the number format that it computes in natively.
        memory_bytes: of a GPU; None of a CPU.
        kind: what it is; None where nobody looked.
        not_compiled: why `torch.compile` does not work there; None where it does, or where nobody
            asked.
    """

    precision: str = ""
    memory_bytes: int | None = None
    kind: Kind | None = None
    not_compiled: str | None = None


def native(device: str, environment: Mapping[str, str], *, compiling: bool) -> Native:
    """Look at the device; runs on a worker.

    Args:
        compiling: whether to try `torch.compile`, which takes some seconds.
    """
    prepare_process(device, environment)
    import torch

    from ldm.networks.precision import resolve

    not_compiled = None
    if compiling:  # which brings MONAI
        from ldm.models.inference import why_not_compiled

        not_compiled = why_not_compiled(device)
    there = device == "cuda" and torch.cuda.is_available()
    return Native(
        precision=resolve("auto", device),
        memory_bytes=torch.cuda.mem_get_info()[1] if there else None,
        kind=kind_of(device),
        not_compiled=not_compiled,
    )
