"""Independent batches as updates: what most tasks are trained on."""

from __future__ import annotations

from typing import Any, Protocol

from rnncore import Tensor
from rnncore.data.prefetch import Prefetcher
from rnncore.train.task import State


class Batch(Protocol):
    """What one update sees."""

    @property
    def items(self) -> int:
        """What the mean loss is a mean over: examples, tokens, values."""


class Batches(Protocol):
    """The batches of a training part. Each is a function of (epoch, index) alone."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def batch(self, epoch: int, index: int) -> Batch:
        """One of them (called from another thread)."""


class BatchFeed:
    """A `Feed` of batches that are made one ahead of their use; ``model.loss(batch)`` is their mean loss."""

    def __init__(self, batches: Batches, *, ahead: int = 2) -> None:
        self._count = len(batches)
        self._ahead = Prefetcher(batches.batch, self._count, ahead=ahead)

    def __len__(self) -> int:
        return self._count

    def loss(self, model: Any, epoch: int, index: int, state: State | None) -> tuple[Tensor, int, State | None]:
        """See `Feed`; no state is carried."""
        batch = self._ahead.get(epoch, index)
        return model.loss(batch), batch.items, None
