"""A batch in parts, on several threads.

Parts have a fixed size, and their results are added up in order: results do not depend on the
number of threads. BLAS keeps to one thread itself, since its matrices are small: its threads would
wait for each other, which on a busy machine has cost a factor of eight.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import TypeVar

from threadpoolctl import threadpool_limits

__all__ = ["Workers", "cores", "one_blas_thread"]

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_blas_thread() -> AbstractContextManager[object]:
    """Keeps matrix products on one thread."""
    limit: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limit


class Workers:
    """Threads that work on parts; a context manager.

    Parameters
    ----------
    threads : int or None
        None for one per core, four at most: more would wait for memory.
    """

    def __init__(self, threads: int | None = None):
        self.threads = min(4, cores()) if threads is None else threads
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def map(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """Results of all parts, in their order; numpy's error state is the caller's."""
        if self._pool is None or len(parts) == 1:
            return [work(part) for part in parts]
        contexts = [copy_context() for _ in parts]
        return list(self._pool.map(lambda own, part: own.run(work, part), contexts, parts))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
