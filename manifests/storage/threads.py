"""Several requests at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

CONNECTIONS = 16
T = TypeVar("T")
R = TypeVar("R")
OnProgress = Callable[[int, int, int], None]  # objects done, of how many, their bytes


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`function` of each item, several at a time, in order."""
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or an interrupt, leave the rest
