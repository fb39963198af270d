"""Polyphonic music as a task of the trainer: pieces in padded batches, transposed if wanted, nats a step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from rnncore import Generator
from rnncore._messages import message
from rnncore.data.file_source import FileSource
from rnncore.data.music import PARTS, Music, pad, piece_of, read_music, roll_of, transposed
from rnncore.models.music import MusicBatch, PolyphonicMusic
from rnncore.train.batch_feed import BatchFeed, Buckets
from rnncore.train.config import TrainConfig
from rnncore.train.task import Task, fingerprint_of


@dataclass(frozen=True)
class MusicSource(FileSource):
    """A file of pieces in three parts, as for `data.read_music`.

    Attributes:
        train: the file.
        skip_malformed: see `data.read_music`.
        transpose: training pieces are moved by up to so many half-tones, up or down, anew in each epoch; default 0.
    """

    train: str
    skip_malformed: bool = False
    transpose: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.transpose <= 24:
            raise ValueError(message("music", "transpose", "0 to 24 half-tones", str(self.transpose)))

    def load(self) -> tuple[Music, Music, Music]:
        """The three parts."""
        train, valid, test = (read_music(self.train, part, skip_malformed=self.skip_malformed) for part in PARTS)
        return train, valid, test


class MusicBatches:
    """Batches of pieces of about equal lengths; order and transposition depend on (seed, epoch) alone."""

    def __init__(self, music: Music, source: MusicSource, config: TrainConfig) -> None:
        self._rolls, self._by, self._seed = music.rolls, source.transpose, config.seed
        lengths = [len(roll) for roll in music.rolls]
        self._buckets = Buckets(lengths, config)
        self.padding = self._buckets.padding

    def __len__(self) -> int:
        return len(self._buckets)

    def batch(self, epoch: int, index: int) -> MusicBatch:
        """See `train.Batches`."""
        draw = np.random.Generator(np.random.Philox(key=[self._seed + 2**32, epoch]))
        moves = draw.integers(-self._by, self._by + 1, size=len(self._rolls))
        return MusicBatch(*pad([transposed(self._rolls[n], int(moves[n])) for n in self._buckets.epoch(epoch)[index]]))


class MusicTask(Task):
    """Predicting the next keys.

    Args:
        train, valid, test: pieces.
        source: where they came from, and by how much training transposes them.
    """

    kind: ClassVar[str] = "multilabel"
    items = "steps"
    loss_unit = "nats a step"
    source: MusicSource

    def __init__(self, train: Music, valid: Music, test: Music, source: MusicSource) -> None:
        self.train, self.valid, self.tested, self.source = train, valid, test, source

    @property
    def fingerprint(self) -> str:
        """Of the pieces of all parts."""
        return fingerprint_of(part.fingerprint for part in (self.train, self.valid, self.tested))

    def feed(self, config: TrainConfig) -> BatchFeed:
        """See `Task.feed`."""
        return BatchFeed(MusicBatches(self.train, self.source, config))

    def validate(self, model: PolyphonicMusic, config: TrainConfig) -> dict[str, float] | None:
        """Nats a step of the validation pieces."""
        return model.score(self.valid.rolls)

    def test(self, model: PolyphonicMusic) -> str | None:
        """Nats a step of the test pieces, by both means."""
        scores = model.score(self.tested.rolls)
        return f"{scores['loss']:.4f} nats a step (mean over steps; over pieces {scores['by_piece']:.4f})"

    def describe(self) -> str:
        """Pieces and steps."""
        skipped = sum(part.skipped for part in (self.train, self.valid, self.tested))
        left = f" ({skipped} malformed pieces skipped)" if skipped else ""
        train = f"{len(self.train)} pieces, {self.train.steps:,} steps, to train on"
        return f"{train}, {len(self.valid)} to validate on, {len(self.tested)} to test{left}"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: Any) -> MusicTask:
        """See `Task.read`."""
        files = cls.source_from_json(source)
        return cls(*files.load(), files)

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> MusicSource:
        """See `Task.source_from_json`."""
        return MusicSource.from_json(value)

    @classmethod
    def evaluate(cls, model: PolyphonicMusic, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Nats a step of a file's test part (or of all its pieces, where it has no parts), read as in training."""
        facts = (model.training_facts or {}).get("source")
        malformed = facts is not None and cls.source_from_json(facts).skip_malformed
        music = read_music(path, "test", skip_malformed=malformed)
        scores = model.score(music.rolls)
        return {
            "nats_per_step": scores["loss"],
            "nats_per_step_by_piece": scores["by_piece"],
            "pieces": len(music),
            "steps": music.steps,
        }

    @classmethod
    def predict(
        cls, model: PolyphonicMusic, file: TextIO, name: str, options: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """Each line is a piece, a JSON list of steps that are lists of pitches; 32 steps that go on from it."""
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{name}, line {number}"
            try:
                roll = roll_of(json.loads(line), where)
            except json.JSONDecodeError as error:
                raise ValueError(message("predict", where, "JSON", error.msg)) from None
            steps = piece_of(model.play(roll, 32, generator=Generator(number)))
            yield json.dumps(steps), {"line": number, "steps": steps}
