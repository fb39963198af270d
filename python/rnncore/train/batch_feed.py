"""Independent batches as updates: what most tasks are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from rnncore import Tensor
from rnncore.data.prefetch import Prefetcher
from rnncore.data.splits import Indices, bucketed, padding
from rnncore.train.config import TrainConfig
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


class Buckets:
    """The sequences of each batch of each epoch, of about equal lengths; see `data.bucketed`.

    Where a twentieth of the steps or more would be padding, more batches are sorted together.

    Attributes:
        padding: the share of the steps of the first epoch's batches that are padding.
    """

    def __init__(self, lengths: Sequence[int], config: TrainConfig) -> None:
        pool = 100

        def order(epoch: int) -> list[Indices]:
            return bucketed(lengths, config.batch, seed=config.seed, epoch=epoch, pool=pool)

        while padding(lengths, order(0)) >= 0.05 and pool * config.batch < len(lengths):
            pool *= 2
        self.epoch = lru_cache(maxsize=2)(order)  # the prefetcher looks into the next one
        self.padding = padding(lengths, self.epoch(0))

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.epoch(0))


class BatchFeed:
    """A `Feed` of batches that are made one ahead of their use; ``model.loss(batch)`` is their mean loss.

    Attributes:
        padding: the share of their steps that is padding, where they hold sequences of different lengths; else None.
    """

    def __init__(self, batches: Batches, *, ahead: int = 2) -> None:
        self._count = len(batches)
        self.padding: float | None = getattr(batches, "padding", None)
        self._ahead = Prefetcher(batches.batch, self._count, ahead=ahead)

    def __len__(self) -> int:
        return self._count

    def loss(self, model: Any, epoch: int, index: int, state: State | None) -> tuple[Tensor, int, State | None]:
        """See `Feed`; no state is carried."""
        batch = self._ahead.get(epoch, index)
        return model.loss(batch), batch.items, None
