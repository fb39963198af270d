"""Progress: where a run stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class Progress:
    """Where a run stands; every number that a later step depends on.

    Attributes:
        epoch: whole epochs done; `chunk`: updates done in the one after; `step`: updates done in all.
        seconds: training time so far.
        epoch_loss, epoch_items: sums of the epoch so far.
        window_loss, window_items, window_clipped, window_steps: sums since the last line of the log.
        clipped_steps: updates in which clipping by norm acted.
        best_valid, best_epoch: the best validation and its epoch; `bad_epochs`: validations since.
        finished: "" while it goes on, else why it ended.
    """

    epoch: int = 0
    chunk: int = 0
    step: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0
    epoch_items: int = 0
    window_loss: float = 0.0
    window_items: int = 0
    window_clipped: int = 0
    window_steps: int = 0
    clipped_steps: int = 0
    best_valid: float | None = None
    best_epoch: int = 0
    bad_epochs: int = 0
    finished: str = ""

    def add(self, loss: float, items: int, *, clipped: bool) -> None:
        """Count an update with this mean loss over so many items."""
        self.chunk, self.step = self.chunk + 1, self.step + 1
        self.epoch_loss += loss * items
        self.epoch_items += items
        self.window_loss += loss * items
        self.window_items += items
        self.window_clipped += clipped
        self.window_steps += 1
        self.clipped_steps += clipped

    def clear_window(self) -> None:
        """A line of the log has been written."""
        self.window_loss, self.window_items, self.window_clipped, self.window_steps = 0.0, 0, 0, 0

    def next_epoch(self) -> None:
        """An epoch is over."""
        self.epoch, self.chunk = self.epoch + 1, 0
        self.epoch_loss, self.epoch_items = 0.0, 0

    @property
    def clipped(self) -> float:
        """The share of the updates whose gradient was clipped by its norm."""
        return self.clipped_steps / max(self.step, 1)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Progress:
        """Rebuild what `to_json` gave; every number is checked.

        Raises:
            ValueError: other fields, or values that no run has.
        """
        if set(value) != {part.name for part in fields(cls)}:
            raise ValueError("other fields in progress")
        for part in fields(cls):
            if not _is_good(part.name, str(part.type), value[part.name]):
                raise ValueError(f"{part.name} {value[part.name]!r} in progress")
        return cls(**value)


_SIGNED = ("epoch_loss", "window_loss", "best_valid")  # a density's log-likelihood can have either sign


def _is_good(name: str, kind: str, value: Any) -> bool:
    if isinstance(value, str) or value is None:
        return kind == ("str" if isinstance(value, str) else "float | None")
    number = type(value) is int or (type(value) is float and kind != "int")
    return number and kind != "str" and math.isfinite(value) and (value >= 0 or name in _SIGNED)
