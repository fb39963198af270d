"""The progress of a training run on the terminal: a bar, or plain lines where the output is no terminal."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from rnncore.train import Callback

if TYPE_CHECKING:
    from rnncore.train import Trainer

_SMOOTHING = 0.95  # of the shown loss and gradient norm, per update
_REFRESH = 0.1  # seconds between two updates of the bar


class _Average:
    """An exponential moving average, unbiased at the start."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, value: float) -> None:
        self._sum = _SMOOTHING * self._sum + (1 - _SMOOTHING) * value
        self._weight = _SMOOTHING * self._weight + (1 - _SMOOTHING)

    @property
    def value(self) -> float:
        return self._sum / self._weight if self._weight else math.nan


class TrainingProgress(Callback):
    """Shows the loss, items a second, the gradient norm and the time left.

    Args:
        console: where; a terminal gets a bar, anything else a line per epoch and at most one every ten seconds.
    """

    _PLAIN_SECONDS = 10.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: Any = None
        self._loss, self._norm = _Average(), _Average()
        self._items = 0
        self._shown = self._started = 0.0
        self._first_step = 0

    def on_start(self, trainer: Trainer) -> None:
        """Put the bar up."""
        self._started = self._shown = time.perf_counter()
        self._first_step = trainer.progress.step
        self._items = 0
        self._epoch_items = trainer.progress.epoch_items
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[facts]}"),
                console=self._console, transient=True, auto_refresh=False, expand=True,
            )  # fmt: skip
            self._task = self._bar.add_task(
                self._title(trainer), total=trainer.total_steps, completed=trainer.progress.step, facts=""
            )
            self._bar.start()
            self._bar.refresh()

    def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
        """Take in the numbers of an update and show them now and then."""
        self._loss.add(loss)
        self._norm.add(grad_norm)
        seen = trainer.progress.epoch_items
        self._items += seen - self._epoch_items if seen > self._epoch_items else seen  # else: an epoch has begun
        self._epoch_items = seen
        now = time.perf_counter()
        if now - self._shown < (_REFRESH if self._bar is not None else self._PLAIN_SECONDS):
            return
        self._shown = now
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=trainer.progress.step,
                description=self._title(trainer),
                facts=self._facts(trainer, now),
            )
            self._bar.refresh()
        else:
            total = trainer.total_steps
            done = f"{trainer.progress.step}" if total is None else f"{trainer.progress.step}/{total}"
            self._plain(f"{self._title(trainer)}  step {done}  {self._facts(trainer, now)}")

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """One line for the epoch."""
        parts = [f"epoch {record['epoch']:>3}", f"train {_number(record['loss'])}"]
        scores = {name.removeprefix("valid_"): value for name, value in record.items() if name.startswith("valid_")}
        parts += [f"{'valid' if name == 'loss' else name} {_number(value)}" for name, value in scores.items()]
        parts.append(f"{record['time']:.1f} s")
        self._plain("  ".join(parts))

    def on_end(self, trainer: Trainer) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _plain(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)

    def _title(self, trainer: Trainer) -> str:
        if trainer.total_steps is None:
            return f"epoch {trainer.progress.epoch + 1}"
        epochs = max(math.ceil(trainer.total_steps / len(trainer.feed)), 1)
        return f"epoch {min(trainer.progress.epoch + 1, epochs)}/{epochs}"

    def _facts(self, trainer: Trainer, now: float) -> str:
        elapsed = max(now - self._started, 1e-9)
        rate = self._items / elapsed
        steps = max(trainer.progress.step - self._first_step, 1)
        left = math.inf
        if trainer.total_steps is not None:
            left = (trainer.total_steps - trainer.progress.step) * elapsed / steps
        if trainer.config.minutes is not None:
            left = min(left, 60.0 * trainer.config.minutes - trainer.progress.seconds)
        loss = trainer.task.short(self._loss.value)
        return f"{loss} {_short(rate)} {trainer.task.items}/s |g| {self._norm.value:.2f} {_clock(left)} left"


def _number(value: float) -> str:
    """Four decimals, or four digits of what has grown out of hand."""
    return f"{value:.4f}" if value < 1e4 else f"{value:.4g}"


def _short(value: float) -> str:
    """1,234,567 as 1.23M, 12,345 as 12k."""
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    return f"{value / 1e3:.0f}k" if value >= 1e4 else f"{value:.0f}"


def _clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = max(round(seconds), 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
