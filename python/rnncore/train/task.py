"""Task: all that training needs to know about one kind of model. The trainer itself knows of none."""

from __future__ import annotations

import hashlib
import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TextIO

from rnncore import Tensor
from rnncore._messages import message
from rnncore.models.base import Model
from rnncore.models.files import model_class
from rnncore.train.config import TrainConfig

State = tuple[Tensor, ...]  # what one update hands to the next, e.g. the carried recurrent state

_CLASSES = {  # kind of model -> module:class of its task, imported when first met
    "language_model": "rnncore.train.language_model:LanguageModelTask",
    "forecaster": "rnncore.train.forecast:ForecastTask",
    "multilabel": "rnncore.train.music:MusicTask",
    "transcriber": "rnncore.train.speech:SpeechTask",
    "classifier": "rnncore.train.classify:ClassifyTask",
    "tagger": "rnncore.train.tag:TagTask",
    "seq2seq": "rnncore.train.seq2seq:Seq2SeqTask",
    "captioner": "rnncore.train.caption:CaptionTask",
}


def task_class(kind: str) -> type[Task]:
    """The task of a kind of model.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in _CLASSES:
        raise ValueError(message("train", "kind", " | ".join(_CLASSES), repr(kind)))
    module, _, name = _CLASSES[kind].partition(":")
    found: type[Task] = getattr(importlib.import_module(module), name)
    return found


class Feed(Protocol):
    """What an epoch's updates see. It depends on (configuration, epoch, index) alone, so that a run can be resumed."""

    def __len__(self) -> int:
        """Updates in an epoch."""

    def loss(self, model: Any, epoch: int, index: int, state: State | None) -> tuple[Tensor, int, State | None]:
        """The mean loss of update `index`, over how many items, and the state to hand in next time (off the tape)."""


class Source(Protocol):
    """Where data came from: files and options, so that a stopped run finds them again."""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""

    def describe(self) -> str:
        """In one line, for people."""


@dataclass(frozen=True)
class Objective:
    """The number of `Task.validate` that decides which model is best, and for early stopping."""

    name: str = "loss"
    maximise: bool = False

    def improves(self, value: float, best: float | None) -> bool:
        """Whether `value` is better than the best so far."""
        return best is None or (value > best if self.maximise else value < best)


class Task(ABC):
    """The data of a run and how a model of its kind learns from it.

    Attributes:
        kind: the kind of model, as `Model.kind`.
        items: what a loss is a mean over, in the plural, e.g. "chars".
        loss_unit: of the loss.
        objective: what the best model is chosen by.
        source: where the data came from; None: it was given in memory, and resuming needs it again.
        eval_options, predict_options: the options that `evaluate` and `predict` read.
    """

    kind: ClassVar[str]
    items: str = "items"
    loss_unit: str = "nats"
    objective: Objective = Objective()
    source: Source | None = None
    eval_options: ClassVar[tuple[str, ...]] = ()
    predict_options: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the data: a resumed run checks that it reads the same."""

    @abstractmethod
    def feed(self, config: TrainConfig) -> Feed:
        """The updates of an epoch.

        Raises:
            ValueError: options that do not fit the data.
        """

    @abstractmethod
    def validate(self, model: Any, config: TrainConfig) -> dict[str, float] | None:
        """Numbers on the validation part, "loss" and the objective among them; None: there is no such part."""

    @abstractmethod
    def describe(self) -> str:
        """The data in one line, for people."""

    @classmethod
    @abstractmethod
    def read(cls, source: Mapping[str, Any], model: Any) -> Task:
        """The data of a resumed run, by what `Source.to_json` gave.

        Raises:
            OSError: a file cannot be read.
            ValueError: not such a source, or malformed data.
        """

    @classmethod
    @abstractmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> Source:
        """Rebuild what `Source.to_json` gave.

        Raises:
            ValueError, TypeError: something else.
        """

    def test(self, model: Any) -> str | None:
        """What a finished run says about its test part, in one line; None: there is none."""
        return None

    @classmethod
    def evaluate(cls, model: Any, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Scores of a model on a file, for ``rnncore eval``; `options`: some of `eval_options`.

        Raises:
            OSError, ValueError: the file cannot be read, or models of this kind are not scored so.
        """
        raise ValueError(message("eval", "RUN", "a kind of model that a file can score", f"a {cls.kind}"))

    @classmethod
    def predict(cls, model: Any, file: TextIO, name: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """For each record of `file` what ``rnncore predict`` prints: the line for people, the object for programs.

        `options`: some of `predict_options`.

        Raises:
            ValueError: a malformed record (`name` and its line are named), or models of this kind do not predict so.
        """
        raise ValueError(message("predict", "RUN", "a kind of model that predicts", f"a {cls.kind}"))

    def look(self, model: Any) -> list[tuple[str, dict[str, Any]]]:
        """After each validation: further lines for the log, event and content. They change nothing, draw nothing."""
        return []

    def check_model(self, model: Model) -> None:
        """Refuse a model that does not fit the data.

        Raises:
            ValueError: it does not.
        """
        if model.kind != self.kind:
            raise ValueError(message("train", "model", f"a {self.kind}", f"a {model.kind}"))

    def check_state(self, model: Any, state: State, config: TrainConfig) -> None:
        """Refuse a state of a checkpoint that no update of this task hands on.

        Raises:
            ValueError: it is none.
        """
        raise ValueError(message("train", "state", "none", f"{len(state)} tensors"))

    def is_sane(self, loss: float) -> bool:
        """Whether training may go on after this loss."""
        return math.isfinite(loss)

    def derived(self, loss: float) -> dict[str, float]:
        """Numbers that say the same as a loss in another way, for the log (e.g. a perplexity)."""
        return {}

    def short(self, loss: float) -> str:
        """A running loss for the progress bar."""
        return f"loss {loss:.3f}"


def fingerprint_of(parts: Iterable[str | None]) -> str:
    """One fingerprint of several parts' (None: there is no such part)."""
    return hashlib.sha256("\n".join(part or "none" for part in parts).encode()).hexdigest()


def build_model(kind: str, config: Mapping[str, Any], assets: Mapping[str, Any], generator: Any) -> Model:
    """A fresh model of any kind from what `Model.to_dict` and `Model.assets` gave."""
    return model_class(kind).from_dict(config, assets, generator=generator)
