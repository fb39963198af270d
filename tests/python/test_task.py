"""The trainer knows no kind of model: a task of a few lines is trained, resumed bit for bit, refused, stopped."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from language_models import log_without_times

from rnncore import Generator, Tensor, nn
from rnncore.data import Prefetcher
from rnncore.models import Model
from rnncore.models import files as model_files
from rnncore.train import BatchFeed, Callback, Checkpoint, KeepBest, Objective, RunFolder, Task, TrainConfig, Trainer
from rnncore.train import task as tasks


@dataclass(frozen=True)
class Points:
    x: Any
    y: Any

    @property
    def items(self) -> int:
        return len(self.x)


class Line(Model):
    """y = w x + b; the loss may be negative (a Gaussian's log-likelihood can)."""

    kind: ClassVar[str] = "line"

    def __init__(self, dropout: float = 0.0, generator: Generator | None = None) -> None:
        super().__init__()
        self.generator = generator or Generator(0)
        self.dropout = dropout
        self.head = nn.Linear(1, 1, generator=self.generator)
        self.drop = nn.Dropout(dropout, generator=self.generator)

    def loss(self, batch: Points) -> Tensor:
        difference = self.head(self.drop(Tensor(batch.x))) - Tensor(batch.y)
        return (difference * difference).mean() - 1.0

    def to_dict(self) -> dict[str, Any]:
        return {"dropout": self.dropout}

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Any = None) -> Line:
        return cls(**config, generator=generator)

    def save(self, path: Any) -> None:
        Path(path).write_text(repr(sorted((name, value.tolist()) for name, value in self.state_dict().items())))


class Batches:
    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def __len__(self) -> int:
        return 12

    def batch(self, epoch: int, index: int) -> Points:
        draw = np.random.Generator(np.random.Philox(key=[self.config.seed, epoch * 12 + index]))
        x = draw.normal(size=(self.config.batch, 1)).astype(np.float32)
        return Points(x, 3 * x + 1)


class LineTask(Task):
    kind: ClassVar[str] = "line"
    items = "points"
    objective = Objective("closeness", maximise=True)
    fingerprint = "line"
    closeness: ClassVar[list[float]] = []

    def feed(self, config: TrainConfig) -> BatchFeed:
        return BatchFeed(Batches(config))

    def validate(self, model: Line, config: TrainConfig) -> dict[str, float]:
        loss = model.loss(Batches(config).batch(99, 0)).item()
        return {"loss": loss, "closeness": self.closeness.pop(0) if self.closeness else -loss}

    def describe(self) -> str:
        return "points"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: Line) -> LineTask:
        return cls()

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> Any:
        raise ValueError("none")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model_files._CLASSES, "line", f"{__name__}:Line")
    monkeypatch.setitem(tasks._CLASSES, "line", f"{__name__}:LineTask")


def trainer(folder: Path | None = None, **options: Any) -> Trainer:
    config = TrainConfig(**{"epochs": 4, "batch": 6, "lr": 0.05, "log_every": 5, **options})
    run = None if folder is None else RunFolder.create(folder)
    return Trainer(Line(0.1, Generator(3)), LineTask(), config, run=run)


def test_a_task_is_learnt_and_logged(tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", epochs=8)
    result = made.fit()
    assert result.reason == "epochs"
    assert result.best_valid is not None
    assert result.best_valid > 0.3, "closeness is 1 for the true line; negative losses count"
    epochs = [record for record in made.history if record["event"] == "epoch"]
    assert "perplexity" not in epochs[0], "that is language models' own"
    assert {"valid_loss", "valid_closeness"} <= set(epochs[0])
    assert (tmp_path / "run" / "model.safetensors").exists()


class Crash(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
        if trainer.progress.step == self.step:
            raise RuntimeError("crash")


@pytest.mark.parametrize("step", [1, 11, 12, 13, 30])
def test_a_crashed_run_of_a_task_resumes_bit_for_bit(tmp_path: Path, step: int) -> None:
    whole = trainer(tmp_path / "whole", checkpoint_steps=4)
    whole.fit()
    broken = trainer(tmp_path / "broken", checkpoint_steps=4)
    broken.callbacks.append(Crash(step))
    with pytest.raises(RuntimeError, match="crash"):
        broken.fit()
    Trainer.resume(tmp_path / "broken", data=LineTask()).fit()
    one, two = (tmp_path / name / "model.safetensors" for name in ("whole", "broken"))
    assert one.read_text() == two.read_text()
    assert log_without_times(tmp_path / "whole") == log_without_times(tmp_path / "broken")
    first, second = (Checkpoint.load(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "broken"))
    assert first.generator == second.generator


def test_the_objective_decides_which_model_is_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LineTask, "closeness", [0.1, 0.7, 0.7, 0.2, 0.3])
    result = trainer(tmp_path / "run", epochs=9, patience=3).fit()
    assert (result.reason, result.best_epoch, result.best_valid) == ("early stopping", 2, 0.7)


def test_keep_best_puts_the_best_parameters_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LineTask, "closeness", [0.1, 0.7, 0.3, 0.2])
    seen: list[float] = []

    class Watch(Callback):
        def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
            seen.append(trainer.model.head.weight.item())

    made = trainer(epochs=4)
    made.callbacks += [Watch(), KeepBest()]
    made.fit()
    assert made.model.head.weight.item() == seen[1] != seen[3]


def test_a_model_of_another_kind_is_refused() -> None:
    model = Line()
    model.kind = "circle"  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"\[train\] model: expected a line, got a circle"):
        Trainer(model, LineTask())


def test_resuming_needs_the_data_that_had_no_source(tmp_path: Path) -> None:
    trainer(tmp_path / "run", steps=3).fit()
    with pytest.raises(ValueError, match=r"\[resume\] data"):
        Trainer.resume(tmp_path / "run", steps=5)


def test_prefetched_batches_are_those_that_are_asked_for() -> None:
    made: list[tuple[int, int, str]] = []

    def make(epoch: int, index: int) -> tuple[int, int]:
        made.append((epoch, index, threading.current_thread().name))
        return epoch, index

    batches = Prefetcher(make, count=3)
    asked = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (0, 1), (5, 0)]
    assert [batches.get(*key) for key in asked] == asked
    assert all(name.startswith("rnncore-data") for _, _, name in made), "in a thread of its own"
    assert len(set(asked)) <= len(made)


def test_the_next_batches_are_made_without_being_asked_for() -> None:
    made = {index: threading.Event() for index in range(100)}

    def make(epoch: int, index: int) -> int:
        made[index].set()
        return index

    batches = Prefetcher(make, count=100, ahead=2)
    batches.get(0, 0)
    assert made[2].wait(10), "while the caller is busy"
    assert not made[4].is_set(), "two ahead, no more"


def test_an_error_of_a_batch_is_raised_where_it_is_asked_for() -> None:
    def make(epoch: int, index: int) -> int:
        if index == 1:
            raise ValueError("line 7 is malformed")
        return index

    batches = Prefetcher(make, count=3)
    assert batches.get(0, 0) == 0
    with pytest.raises(ValueError, match="line 7"):
        batches.get(0, 1)
    assert batches.get(0, 2) == 2
