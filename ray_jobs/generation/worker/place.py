"""Where a worker computes: the machine and the device, as Ray knows them and as people are told."""

from __future__ import annotations

import socket
from dataclasses import dataclass


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
