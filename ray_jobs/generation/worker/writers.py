"""Bounded writer threads: the device draws on while volumes are compressed, hashed, uploaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Writers(Generic[T]):
    """A pool of threads with a bounded queue: `submit` waits where the store cannot keep up.

    Args:
        threads: how many work at once.
        waiting: how many more jobs may wait, each holding a volume in memory.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="writer")
        self._places = threading.BoundedSemaphore(threads + waiting)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run `job` on a thread, once there is a place; its error waits in the future."""
        self._places.acquire()
        try:
            future = self._pool.submit(job)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return future

    def close(self) -> None:
        """Wait for the jobs under way and end the threads."""
        self._pool.shutdown(wait=True)

    def __enter__(self) -> Writers[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
