"""Speech as a task of the trainer: recordings with their texts, batches with augmentation, error rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from rnncore import metrics
from rnncore._messages import message
from rnncore.data.acoustic import Frames
from rnncore.data.audio import Speech, Utterance, join, read_speech, read_wav, units_of
from rnncore.data.file_source import FileSource
from rnncore.data.splits import Indices, bucketed, padding
from rnncore.models.transcriber import SpeechBatch, Transcriber
from rnncore.train.batch_feed import BatchFeed
from rnncore.train.config import TrainConfig
from rnncore.train.task import Objective, Task, fingerprint_of


@dataclass(frozen=True)
class SpeechSource(FileSource):
    """Where recordings come from, and how they are used.

    Attributes:
        train, valid, test: folders or archives, as for `data.read_speech`; without `valid`, a share of `train` that
            `seed` chooses.
        transcripts: a CSV file; default: the names of the files.
        hold_out: a speaker whose recordings, of all files, are the test part and nothing else; what `test` has of
            others is trained on.
        valid_fraction: default 0.1; 0: no validation.
        skip_malformed: see `data.read_speech`.
        join: training recordings are joined, up to so many of one speaker; default 1.
        augment: training recordings are faster or slower by a tenth, and stretches of time and features are masked
            (as Park et al. 2019).
        seed: of the split; default 0.
    """

    train: str
    valid: str | None = None
    test: str | None = None
    transcripts: str | None = None
    hold_out: str | None = None
    valid_fraction: float = 0.1
    skip_malformed: bool = False
    join: int = 1
    augment: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.valid_fraction < 1:
            raise ValueError(message("speech", "valid_fraction", "a share in [0, 1)", str(self.valid_fraction)))
        if self.join < 1:
            raise ValueError(message("speech", "join", "at least 1", str(self.join)))

    def describe(self) -> str:
        """Path, and who is held out."""
        return self.train + (f" without {self.hold_out}" if self.hold_out else "")

    def load(self) -> tuple[Speech, Speech | None, Speech | None]:
        """Training, validation and test recordings."""
        train = self.read(self.train)
        valid, test = (None if path is None else self.read(path) for path in (self.valid, self.test))
        if self.hold_out is not None:
            parts = [part for part in (train, valid, test) if part is not None]
            held = [u for part in parts for u in part.utterances if u.speaker == self.hold_out]
            if not held:
                known = " | ".join(sorted({name for part in parts for name in part.speakers}))
                raise ValueError(message("speech", "hold_out", known, repr(self.hold_out)))
            train = self._others([train] if test is None else [train, test], self.train)
            valid = None if valid is None else self._others([valid], str(self.valid))
            test = Speech(held)
        if valid is None and self.valid_fraction > 0:
            order = np.random.Generator(np.random.Philox(key=[self.seed, 1])).permutation(len(train))
            count = round(self.valid_fraction * len(train))
            kept, taken = sorted(order[count:]), sorted(order[:count])
            valid = Speech([train.utterances[n] for n in taken]) if count else None
            train = Speech([train.utterances[n] for n in kept], train.skipped)
        return train, valid, test

    def _others(self, parts: Sequence[Speech], origin: str) -> Speech:
        """The recordings of all but the speaker that is held out."""
        kept = [u for part in parts for u in part.utterances if u.speaker != self.hold_out]
        if not kept:
            raise ValueError(message("speech", "hold_out", f"recordings of others in {origin}", "none"))
        return Speech(kept, sum(part.skipped for part in parts))

    def read(self, path: str) -> Speech:
        """Recordings, read like this source's own."""
        return read_speech(path, transcripts=self.transcripts, skip_malformed=self.skip_malformed)


_SPEEDS = (0.9, 1.0, 1.1)  # of a recording, by taking it for one of another rate


@dataclass(frozen=True)
class _Drawn:
    """What an epoch makes of a recording: which others follow it, after which pause, and at what speed."""

    more: list[int]
    pause: float = 0.0
    speed: float = 1.0


class SpeechBatches:
    """Batches of training recordings of about equal lengths; what is drawn depends on (seed, epoch, index) alone."""

    def __init__(self, model: Transcriber, speech: Speech, config: TrainConfig, source: SpeechSource) -> None:
        self._model, self._config, self._source = model, config, source
        self._utterances = speech.utterances
        self._seconds = [len(one.samples) / one.rate for one in self._utterances]
        self._made: dict[tuple[int, float], Frames] = {}  # by place; frames are the same in every epoch
        self._by_speaker = {
            name: [n for n, one in enumerate(self._utterances) if one.speaker == name] for name in speech.speakers
        }
        self._plan = lru_cache(maxsize=2)(self._planned)
        self.padding = padding(self._lengths(self._plan(0)[0]), self._plan(0)[1])

    def __len__(self) -> int:
        return len(self._plan(0)[1])

    def batch(self, epoch: int, index: int) -> SpeechBatch:
        """See `train.Batches`."""
        drawn, order = self._plan(epoch)
        draw = np.random.Generator(np.random.Philox(key=[self._config.seed + 2**33, epoch * len(order) + index]))
        made = [self._frames(int(n), drawn[n], draw) for n in order[index]]
        return self._model.batch_of([frames for frames, _ in made], [text for _, text in made])

    def _planned(self, epoch: int) -> tuple[list[_Drawn], list[Indices]]:
        """What becomes of each recording in an epoch, and the recordings of each batch."""
        draw = np.random.Generator(np.random.Philox(key=[self._config.seed + 2**32, epoch]))
        drawn = [self._drawn(one, draw) for one in self._utterances]
        return drawn, bucketed(self._lengths(drawn), self._config.batch, seed=self._config.seed, epoch=epoch)

    def _lengths(self, drawn: list[_Drawn]) -> list[int]:
        """About how many frames each recording has."""
        seconds = [
            (self._seconds[n] + sum(self._seconds[m] + one.pause for m in one.more)) / one.speed
            for n, one in enumerate(drawn)
        ]
        return [round(each / self._model.features.step) for each in seconds]

    def _drawn(self, first: Utterance, draw: np.random.Generator) -> _Drawn:
        speed = 1.0 if not self._source.augment else _SPEEDS[int(draw.integers(len(_SPEEDS)))]
        count = int(draw.integers(self._source.join))
        others = self._by_speaker[first.speaker]
        more = [others[n] for n in draw.integers(len(others), size=count)]
        return _Drawn(more, float(draw.uniform(0, 0.1)) if more else 0.0, speed)

    def _frames(self, n: int, drawn: _Drawn, draw: np.random.Generator) -> tuple[Frames, str]:
        """Frames and text of recording `n` and those that follow it."""
        alone = joined = self._utterances[n]
        if drawn.more:
            chosen = [alone, *(self._utterances[m] for m in drawn.more)]
            joined = join(chosen, units=self._model.units, pause=drawn.pause)
        # What faster speech (or a label beside its like, where two are joined) leaves too short is taken as it is.
        for utterance, rate in ((joined, drawn.speed), (joined, 1.0), (alone, 1.0)):
            frames = self._made_frames(n, utterance, rate)
            if len(frames) >= frames_needed(self._model, utterance.text):
                break
        frames = frames.copy()
        if self._source.augment:
            self._mask(frames, draw)
        return frames, utterance.text

    def _made_frames(self, n: int, utterance: Utterance, speed: float) -> Frames:
        known = self._made.get((n, speed))
        if known is not None:
            return known
        frames = self._model.features(utterance.samples, round(utterance.rate * speed))
        if self._source.join == 1:  # what is joined is new each time
            self._made[n, speed] = frames
        return frames

    @staticmethod
    def _mask(frames: Frames, draw: np.random.Generator) -> None:
        T, columns = frames.shape  # noqa: N806
        for axis, most in ((0, T // 5), (1, columns // 6)):
            width = int(draw.integers(most + 1))
            start = int(draw.integers(frames.shape[axis] - width + 1))
            frames[(slice(None),) * axis + (slice(start, start + width),)] = 0  # the mean, where normalised


def frames_needed(model: Transcriber, text: str) -> int:
    """A frame for each label, and one for a blank between equal labels."""
    labels = model.encode(text)
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def frames_of(model: Transcriber, utterance: Utterance) -> Frames:
    """The frames of a recording, at least as many as its labels need."""
    frames = model.features(utterance.samples, utterance.rate)
    needed = frames_needed(model, utterance.text)
    if len(frames) < needed:
        expected = f"at least {needed} frames for {utterance.text!r}"
        raise ValueError(message("speech", utterance.name, expected, str(len(frames))))
    return frames


def score(model: Transcriber, utterances: Sequence[Utterance], *, beam: int = 8, batch: int = 64) -> dict[str, float]:
    """Loss (nats a label), label error rate and the share of recordings that are transcribed without an error."""
    if not utterances:
        raise ValueError(message("speech", "recordings", "at least one", "none"))
    total, texts = 0.0, []
    with model.evaluating():
        for at in range(0, len(utterances), batch):
            part = utterances[at : at + batch]
            frames = [frames_of(model, one) for one in part]
            total += model.loss(model.batch_of(frames, [one.text for one in part])).item() * len(part)
            texts += model.transcribe(frames, beam=beam, batch=batch)
    wanted = [units_of(one.text, model.units) for one in utterances]
    found = [units_of(text, model.units) for text in texts]
    exact = sum(a == b for a, b in zip(found, wanted, strict=True)) / len(wanted)
    return {"loss": total / len(wanted), "error_rate": metrics.error_rate(found, wanted), "exact": exact}


class SpeechTask(Task):
    """Learning what is said from recordings with texts but without alignments.

    Args:
        train, valid, test: recordings.
        source: where they came from, and how training uses them.
    """

    kind: ClassVar[str] = "transcriber"
    items = "recordings"
    loss_unit = "nats a label"
    objective = Objective("loss")
    eval_options: ClassVar[tuple[str, ...]] = ("transcripts",)

    source: SpeechSource

    def __init__(self, train: Speech, valid: Speech | None, test: Speech | None, source: SpeechSource) -> None:
        self.train, self.valid, self.tested, self.source = train, valid, test, source
        self._model: Transcriber | None = None

    @property
    def fingerprint(self) -> str:
        """Of the recordings of all parts."""
        parts = (self.train, self.valid, self.tested)
        return fingerprint_of(None if part is None else part.fingerprint for part in parts)

    def check_model(self, model: Any) -> None:
        """See `Task.check_model`."""
        super().check_model(model)
        for part in (self.train, self.valid, self.tested):
            for utterance in part.utterances if part is not None else ():
                frames_of(model, utterance)
        self._model = model

    def feed(self, config: TrainConfig) -> BatchFeed:
        """See `Task.feed`."""
        assert self._model is not None  # noqa: S101  # a trainer checks its model first
        return BatchFeed(SpeechBatches(self._model, self.train, config, self.source))

    def validate(self, model: Transcriber, config: TrainConfig) -> dict[str, float] | None:
        """Loss, error rate, share without an error; by the best path, which is quick."""
        return None if self.valid is None else score(model, self.valid.utterances, beam=1)

    def test(self, model: Transcriber) -> str | None:
        """The same with prefix search."""
        if self.tested is None:
            return None
        scores = score(model, self.tested.utterances)
        rates = f"{100 * scores['exact']:.2f}% without an error, label error rate {100 * scores['error_rate']:.2f}%"
        return f"{rates}, {len(self.tested)} recordings"

    def describe(self) -> str:
        """Recordings, speakers, hours."""
        seconds = sum(len(one.samples) / one.rate for one in self.train.utterances)
        count = sum(part.skipped for part in (self.train, self.valid, self.tested) if part is not None)
        skipped = f" ({count} malformed files skipped)" if count else ""
        valid = 0 if self.valid is None else len(self.valid)
        speakers = f"{len(self.train.speakers)} speakers, {seconds:.0f} s"
        return f"{len(self.train):,} recordings{skipped} of {speakers} to train on, {valid:,} to validate on"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: Any) -> SpeechTask:
        """See `Task.read`."""
        files = cls.source_from_json(source)
        return cls(*files.load(), files)

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> SpeechSource:
        """See `Task.source_from_json`."""
        return SpeechSource.from_json(value)

    @classmethod
    def evaluate(cls, model: Transcriber, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Loss, error rate and share without an error on the recordings of a folder or archive, read as in training.

        "transcripts" takes the place of the list of training, or of the files' names.
        """
        facts = (model.training_facts or {}).get("source")
        files = SpeechSource(str(path)) if facts is None else cls.source_from_json(facts)
        if "transcripts" in options:
            files = replace(files, transcripts=str(options["transcripts"]))
        speech = files.read(str(path))
        return {**score(model, speech.utterances), "recordings": len(speech)}

    @classmethod
    def predict(
        cls, model: Transcriber, file: TextIO, name: str, options: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """Each line names a WAV file; what is said in it."""
        for number, line in enumerate(file, 1):
            path = line.strip()
            if not path:
                continue
            try:
                text = model.hear(*read_wav(path))
            except (OSError, ValueError) as error:
                got = getattr(error, "strerror", None) or str(error)
                raise ValueError(message("predict", f"{name}, line {number}", "the path of a WAV file", got)) from None
            yield f"{path}\t{text}", {"file": path, "text": text}
