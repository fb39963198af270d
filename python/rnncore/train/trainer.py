"""Trainer: the loop that trains a model of any kind, and everything that keeps its work safe."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from rnncore._messages import message
from rnncore.data import TextCorpus, TextSource
from rnncore.models.base import Model
from rnncore.train.callbacks import Callback, Record
from rnncore.train.checkpoint import Checkpoint
from rnncore.train.config import TrainConfig
from rnncore.train.divergence import blame, divergence
from rnncore.train.language_model import LanguageModelTask
from rnncore.train.log import JsonLinesLog
from rnncore.train.optimizer import make_optimizer, make_schedule
from rnncore.train.progress import Progress
from rnncore.train.run import RunFolder
from rnncore.train.saving import save_checkpoint, save_model
from rnncore.train.signals import StopRequest
from rnncore.train.task import Source, State, Task, task_class


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        reason: "epochs", "steps", "minutes", "early stopping", "interrupted" or what a callback gave to
            `Trainer.stop`.
        steps: updates done; `epochs`: whole epochs done; `seconds`: training time.
        best_valid: the best validation (of the task's objective: a language model's in nats a token), or None;
            `best_epoch`: when (1 is the first).
        clipped: the share of the updates whose gradient was clipped by its norm.
    """

    reason: str
    steps: int
    epochs: int
    seconds: float
    best_valid: float | None
    best_epoch: int
    clipped: float

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended it."""
        return self.reason == "interrupted"


class Trainer:
    """Trains a model on the data of a task.

    With a run folder it keeps a log (JSON lines), the best model, and a checkpoint, which is replaced as a whole
    after each epoch and every `checkpoint_seconds`. `Trainer.resume` goes on from there, bit for bit as if the run
    had never been stopped.

    Args:
        model: trained in place.
        data: a `Task`, or, for a language model, a corpus. Its validation part, where there is one, decides which
            model is best.
        config: see `TrainConfig`.
        run: where to keep the run; default: nowhere.
        source: the files that a corpus came from, so that `resume` finds them (a task knows its own).
        callbacks: called in this order.

    Example:
        >>> corpus = TextCorpus.from_text("to be or not to be, that is the question. " * 40)
        >>> model = LanguageModel(vocabulary=corpus.vocabulary, hidden_size=16, num_layers=1)
        >>> result = Trainer(model, corpus, TrainConfig(epochs=1, batch=4, bptt=16)).fit()
        >>> result.reason
        'epochs'
    """

    def __init__(
        self,
        model: Model,
        data: Task | TextCorpus,
        config: TrainConfig | None = None,
        *,
        run: RunFolder | None = None,
        source: TextSource | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.model = model
        self.task = _task_of(data, source)
        self.task.check_model(model)
        self.config = config or TrainConfig()
        self.run = run
        self.callbacks = list(callbacks)
        self.progress = Progress()
        self.history: list[Record] = []
        self.feed = self.task.feed(self.config)
        self.optimizer = make_optimizer(self.config, model)
        self.state: State | None = None
        self._log: JsonLinesLog | None = None
        self._log_bytes = 0
        self._request = StopRequest()
        self._stop_reason = ""
        self.schedule = make_schedule(
            self.config, self.optimizer, steps_per_epoch=len(self.feed), total_steps=self.total_steps
        )
        self._clock = self._window_clock = self._saved_clock = 0.0
        self._grad_norm = self._last_lr = 0.0

    def run_in(self, run: RunFolder) -> None:
        """Keep the run in this folder (before `fit`)."""
        self.run = run

    def require_run(self) -> RunFolder:
        """The run folder.

        Raises:
            ValueError: there is none.
        """
        if self.run is None:
            raise ValueError(message("train", "run", "a run folder", "none"))
        return self.run

    @classmethod
    def resume(
        cls,
        run: str | os.PathLike[str] | RunFolder,
        *,
        data: Task | TextCorpus | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Trainer:
        """Go on with a run.

        Args:
            run: its folder.
            data: its data; default: the files it was started with are read again.
            epochs: a new limit, to train longer than was planned. New limits take the place of all that there were.
            steps: a new limit, likewise.
            minutes: a new limit, likewise; of the whole run's training time.
            callbacks: as in `Trainer`.

        Raises:
            OSError: no run there, a damaged checkpoint, or the data cannot be read.
            ValueError: the data has changed, or the run is beyond the new limits already.
        """
        folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
        saved = Checkpoint.load(folder.checkpoint)
        try:
            model = saved.build_model()
        except (ValueError, TypeError, KeyError) as error:
            path = str(folder.checkpoint)
            raise OSError(message("load checkpoint", path, "a model that fits its parameters", str(error))) from None
        if data is None:
            if saved.source is None:
                raise ValueError(message("resume", "data", "the data that the run was trained on", "none"))
            data = task_class(saved.task).read(saved.source.to_json(), model)
        task = _task_of(data, saved.source)
        if task.fingerprint != saved.fingerprint:
            origin = saved.source.describe() if saved.source else "data"
            raise ValueError(message("resume", origin, "the data that the run was started with", "other data"))
        config = saved.train
        if (epochs, steps, minutes) != (None, None, None):
            config = replace(config, epochs=epochs, steps=steps, minutes=minutes)
        trainer = cls(model, task, config, run=folder, callbacks=callbacks)
        try:
            trainer._restore(saved)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            path = str(folder.checkpoint)
            raise OSError(message("load checkpoint", path, "a state that fits the run", str(error))) from None
        if config is not saved.train and trainer._at_limit() and not trainer.progress.finished:
            done = f"more than the {saved.progress.step:,} updates and {saved.progress.seconds / 60.0:.1f} minutes done"
            got = f"epochs {epochs}, steps {steps}, minutes {minutes}"
            raise ValueError(message("resume", "limits", done, got, "the run is left as it is"))
        return trainer

    def _restore(self, saved: Checkpoint) -> None:
        self.progress = saved.progress
        if self.progress.finished in ("epochs", "steps", "minutes") and not self._at_limit():
            self.progress.finished = ""
        self.optimizer.load_state_dict({**saved.optimizer, "state": saved.slots})
        self.schedule.load_state_dict(saved.schedule)
        if saved.state is not None:
            self.task.check_state(self.model, saved.state, self.config)
        self.state = saved.state
        self._log_bytes = saved.log_bytes

    @property
    def total_steps(self) -> int | None:
        """The updates of the whole run, if time does not end it before; None: time alone ends it."""
        limits = [] if self.config.steps is None else [self.config.steps]
        if self.config.epochs is not None:
            limits.append(self.config.epochs * len(self.feed))
        return min(limits, default=None)

    def stop(self, reason: str) -> None:
        """End the run after this step (for callbacks)."""
        self._stop_reason = reason

    def fit(self) -> TrainResult:
        """Train until the limit, early stopping or Ctrl-C.

        Raises:
            TrainingDivergedError: NaN, Inf or a loss that has run away; it names the step, the parameter and
                the checkpoint that is kept.
            OSError: the run folder cannot be written; the checkpoint before stays.
        """
        self._begin()
        try:
            with StopRequest() as self._request:
                while not self.progress.finished:
                    self._train_epoch()
                    if self._request.requested and not self.progress.finished:
                        break
        finally:
            for callback in self.callbacks:
                callback.on_end(self)
            if self._log is not None:
                self._log_bytes = self._log.close()  # where another `fit` goes on
        return self._result()

    def _begin(self) -> None:
        self.model.train()
        self._clock = time.perf_counter()
        self._window_clock = self._saved_clock = self._clock
        if self.run is not None:
            self._log = JsonLinesLog(self.run.log, self._log_bytes)
            self.run.remove_leftovers()
            if self.progress.step == 0:
                self._save()
        for callback in self.callbacks:
            callback.on_start(self)

    def _train_epoch(self) -> None:
        while self.progress.chunk < len(self.feed):
            self._update()
            self._elapsed()
            if self.progress.step % self.config.log_every == 0:
                self._log_window()
            if self._at_limit() or self._stop_reason:
                break
            if self._request.requested:
                self._save()
                return
            if self._checkpoint_due():
                self._save()
        self._end_epoch()

    def _update(self) -> None:
        progress, config = self.progress, self.config
        self.optimizer.zero_grad()
        loss, items, state = self.feed.loss(self.model, progress.epoch, progress.chunk, self.state)
        value = loss.item()
        if not self.task.is_sane(value):
            self.diverged(f"a loss of {value:g} {self.task.loss_unit}", blame(self.model, loss))
        penalty = self.model.take_penalty()
        scale = config.loss_scale(items)
        ((loss if penalty is None else loss + penalty) * scale).backward()
        self._last_lr = self.optimizer.lr
        self.optimizer.lr = self._last_lr * config.rate_scale(items)
        try:
            norm = self.optimizer.step(clip_norm=config.clip_norm, clip_value=config.clip_value)
        except FloatingPointError:
            self.diverged("a gradient is not finite", blame(self.model))
        self.optimizer.lr = self._last_lr
        if config.schedule != "plateau":
            self.schedule.step()
        self.state = state
        progress.add(value, items, clipped=0 < config.clip_norm < norm)
        self._grad_norm = norm
        for callback in self.callbacks:
            callback.on_step(self, value, norm)

    def diverged(self, what: str, parameter: str) -> NoReturn:
        """Raise `TrainingDivergedError` for the update that is being made."""
        kept = None if self.run is None else self.run.checkpoint
        raise divergence(self.progress.step + 1, parameter, what, self.config.lr, kept) from None

    def _at_limit(self) -> bool:
        steps, minutes = self.total_steps, self.config.minutes
        over = minutes is not None and self.progress.seconds >= 60.0 * minutes
        return over or (steps is not None and self.progress.step >= steps)

    def _checkpoint_due(self) -> bool:
        if self.run is None:
            return False
        every = self.config.checkpoint_steps
        if every is not None and self.progress.step % every == 0:
            return True
        return time.perf_counter() - self._saved_clock >= self.config.checkpoint_seconds

    def _log_window(self) -> None:
        progress, now = self.progress, time.perf_counter()
        if not progress.window_steps:
            return
        loss = progress.window_loss / progress.window_items
        record: Record = {
            "event": "step",
            "step": progress.step,
            "epoch": progress.epoch + 1,
            "loss": loss,
            **self.task.derived(loss),
            "grad_norm": self._grad_norm,
            "clipped": progress.window_clipped / progress.window_steps,
            "lr": self._last_lr,
            "tokens_per_second": progress.window_items / max(now - self._window_clock, 1e-9),
            "time": self._elapsed(),
        }
        progress.clear_window()
        self._window_clock = now
        self.write(record)
        for callback in self.callbacks:
            callback.on_log(self, record)

    def _end_epoch(self) -> None:
        progress = self.progress
        self._log_window()
        whole = progress.chunk >= len(self.feed)
        train = progress.epoch_loss / max(progress.epoch_items, 1)
        record: Record = {
            "event": "epoch",
            "step": progress.step,
            "epoch": progress.epoch + 1,
            "loss": train,
            **self.task.derived(train),
        }
        with self.optimizer.averaged():
            improved = self._validate(record)
            record["clipped"] = progress.clipped
            record["time"] = self._elapsed()
            if whole:
                progress.next_epoch()
                self.state = None
            progress.finished = self._why_finished()
            self.write(record)
            place = {"step": record["step"], "epoch": record["epoch"]}
            for event, content in self.task.look(self.model):
                self.write({"event": event, **place, **content})
            if improved:
                self._save_model()
        if whole and "valid_loss" in record and self.optimizer.observe(record["valid_loss"]):
            self.write({"event": "averaging", **place})
        try:
            with self.optimizer.averaged():
                for callback in self.callbacks:
                    callback.on_epoch(self, record)
        finally:
            self._save()  # after the callbacks' lines in the log, which it knows of, and also where one of them fails
        self._window_clock = time.perf_counter()

    def _validate(self, record: Record) -> bool:
        """Score the validation part into `record`; whether the model is the best so far."""
        progress = self.progress
        scores = self.task.validate(self.model, self.config)
        if scores is None:
            return True
        if not self.task.is_sane(scores["loss"]):
            self.diverged(f"a validation loss of {scores['loss']:g} {self.task.loss_unit}", blame(self.model))
        record.update({f"valid_{name}": value for name, value in scores.items()})
        if self.config.schedule == "plateau":
            self.schedule.step(scores["loss"])
        value = scores[self.task.objective.name]
        if self.task.objective.improves(value, progress.best_valid):
            progress.best_valid, progress.best_epoch, progress.bad_epochs = value, progress.epoch + 1, 0
            return True
        progress.bad_epochs += 1
        return False

    def _why_finished(self) -> str:
        if self._stop_reason:
            return self._stop_reason
        patience = self.config.patience
        if patience is not None and self.progress.bad_epochs >= patience:
            return "early stopping"
        if not self._at_limit():
            return ""
        if self.config.steps is not None and self.progress.step >= self.config.steps:
            return "steps"
        return "epochs" if self.progress.step == self.total_steps else "minutes"

    def write(self, record: Record) -> None:
        """Append a line to the history and the log (also for callbacks, with an "event" of their own)."""
        self.history.append(record)
        if self._log is not None:
            self._log.write(record)

    def _elapsed(self) -> float:
        now = time.perf_counter()
        self.progress.seconds += now - self._clock
        self._clock = now
        return self.progress.seconds

    def _save_model(self) -> None:
        if self.run is not None:
            save_model(self, self.run)

    def _save(self) -> None:
        """Write the checkpoint (and, as long as no epoch has ended, the model as it is)."""
        if self.run is None:
            return
        self._elapsed()
        if self.progress.epoch == 0 and self.progress.best_valid is None:
            self._save_model()
        save_checkpoint(self, self.run, 0 if self._log is None else self._log.sync())
        self._saved_clock = time.perf_counter()

    def _result(self) -> TrainResult:
        progress = self.progress
        return TrainResult(
            reason=progress.finished or "interrupted",
            steps=progress.step,
            epochs=progress.epoch,
            seconds=progress.seconds,
            best_valid=progress.best_valid,
            best_epoch=progress.best_epoch,
            clipped=progress.clipped,
        )


def _task_of(data: Task | TextCorpus, source: Source | None) -> Task:
    if isinstance(data, Task):
        return data
    return LanguageModelTask(data, source if isinstance(source, TextSource) else None)
