"""Callbacks: what happens beside the training loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnncore import Tensor
    from rnncore.train.trainer import Trainer

Record = dict[str, Any]


class Callback:
    """Called by the trainer; override what you need. `trainer.stop("reason")` ends the run after the step."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step, also of a resumed run."""

    def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
        """After each update: its loss (nats) and the gradient norm before clipping."""

    def on_log(self, trainer: Trainer, record: Record) -> None:
        """After each line of the log."""

    def on_epoch(self, trainer: Trainer, record: Record) -> None:
        """After each epoch's validation."""

    def on_end(self, trainer: Trainer) -> None:
        """When the loop is left, also by an error or Ctrl-C."""


class KeepBest(Callback):
    """Leaves the model, when training ends, with the parameters of its best validation (a run folder keeps them too).

    A resumed run knows the best of its own epochs alone.
    """

    def __init__(self) -> None:
        self._best: dict[str, Tensor] | None = None

    def on_epoch(self, trainer: Trainer, record: Record) -> None:
        """Remember the parameters of a better epoch."""
        if trainer.progress.best_epoch == record["epoch"]:
            self._best = {name: value.clone() for name, value in trainer.model.state_dict().items()}

    def on_end(self, trainer: Trainer) -> None:
        """Put them back."""
        if self._best is not None:
            trainer.model.load_state_dict(self._best)


class TensorBoard(Callback):
    """Writes the log's numbers for TensorBoard.

    Args:
        folder: where the event files go.

    Raises:
        ImportError: tensorboardX is missing: ``pip install 'rnncore[tensorboard]'``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError(
                "TensorBoard logs need tensorboardX; install it with: pip install 'rnncore[tensorboard]'"
            ) from None
        self._writer = SummaryWriter(os.fspath(folder))

    def on_log(self, trainer: Trainer, record: Record) -> None:
        """Scalars under ``train/``."""
        self._scalars("train", record)

    def on_epoch(self, trainer: Trainer, record: Record) -> None:
        """Scalars under ``epoch/``."""
        self._scalars("epoch", record)

    def on_end(self, trainer: Trainer) -> None:
        """Close the files."""
        self._writer.close()

    def _scalars(self, group: str, record: Record) -> None:
        for name, value in record.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(f"{group}/{name}", value, record["step"])
