"""Loading ahead: batches are made in a thread while the one before is trained on."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

B = TypeVar("B")
Key = tuple[int, int]  # (epoch, index)


class Prefetcher(Generic[B]):
    """Gives the batch of any (epoch, index), and makes the next ones meanwhile.

    The result depends on `make` alone, never on timing: what was not foreseen is made when it is asked for. An error
    of `make` is raised by the `get` that asks for that batch.

    Args:
        make: a function of (epoch, index) alone.
        count: batches in an epoch.
        ahead: how many to make in advance; 0: none, and no thread. Default: 2.

    Example:
        >>> batches = Prefetcher(lambda epoch, index: 10 * epoch + index, count=3)
        >>> [batches.get(0, index) for index in range(3)], batches.get(1, 0)
        ([0, 1, 2], 10)
    """

    def __init__(self, make: Callable[[int, int], B], count: int, *, ahead: int = 2) -> None:
        self._make = make
        self._count = count
        self._ahead = ahead
        self._pending: dict[Key, Future[B]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def get(self, epoch: int, index: int) -> B:
        """The batch; the ones after it are on their way."""
        if self._ahead == 0:
            return self._make(epoch, index)
        if self._process != os.getpid():  # a forked child has no thread of its parent's
            self._pool, self._process = ThreadPoolExecutor(1, thread_name_prefix="rnncore-data"), os.getpid()
            self._pending.clear()
        key = (epoch, index)
        wanted = [key]
        for _ in range(self._ahead):
            wanted.append(self._after(wanted[-1]))
        for stale in [known for known in self._pending if known not in wanted]:
            self._pending.pop(stale).cancel()
        assert self._pool is not None  # noqa: S101
        for one in wanted:
            if one not in self._pending:
                self._pending[one] = self._pool.submit(self._make, *one)
        return self._pending.pop(key).result()

    def _after(self, key: Key) -> Key:
        epoch, index = key
        return (epoch, index + 1) if index + 1 < self._count else (epoch + 1, 0)
