"""Ports for servers of the tests that nobody else takes between the choice and the binding."""

from __future__ import annotations

import os
import random
import socket

# Below Linux's ephemeral ports (32,768 to 60,999), from which every outgoing connection and every
# `bind` to port 0 takes one, also in the second between a choice here and a server's own `bind`.
LOWEST, HIGHEST = 10_000, 22_000
SLICES = 8  # one for each of pytest's workers


def free_ports(count: int, *, companion: int = 0) -> list[int]:
    """Ports that are free now.

    Args:
        companion: each port plus this number is free too; at most 10,000.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    width = (HIGHEST - LOWEST) // SLICES
    first = LOWEST + int(worker) % SLICES * width
    order = random.SystemRandom().sample(range(first, first + width), width)
    found = (port for port in order if _is_free(port) and _is_free(port + companion))
    return [next(found) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
