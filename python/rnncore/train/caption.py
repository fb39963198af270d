"""Captioning as a task of the trainer: rows of features and what is said about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TextIO

from rnncore._messages import message
from rnncore.data.captions import CaptionCorpus, Captioned, CaptionSource, parse_rows, read_captions
from rnncore.data.records import Records, together
from rnncore.models.captioner import CaptionBatch, Captioner
from rnncore.train.batch_feed import BatchFeed, Buckets
from rnncore.train.config import TrainConfig
from rnncore.train.searching import SEARCH_OPTIONS, Searching
from rnncore.train.task import Objective, Task


class CaptionBatches:
    """Rows with captions of about equal lengths, in an order that depends on (seed, epoch) alone."""

    def __init__(self, rows: Captioned, model: Captioner, config: TrainConfig) -> None:
        self._rows, self._model = rows, model
        lengths = [len(model.vocabulary.encode(text)) for text in rows.captions]
        self._buckets = Buckets(lengths, config)
        self.padding = self._buckets.padding

    def __len__(self) -> int:
        return len(self._buckets)

    def batch(self, epoch: int, index: int) -> CaptionBatch:
        """See `Batches`."""
        chosen = self._buckets.epoch(epoch)[index].tolist()
        return self._model.batch_of(self._rows.features[chosen], [self._rows.captions[n] for n in chosen])


class CaptionTask(Task):
    """Saying what features show.

    Args:
        corpus: the rows. The validation part, where there is one, decides which model is best, by exact matches.
        source: the files that they came from.
    """

    kind: ClassVar[str] = "captioner"
    items = "tokens"
    objective = Objective("exact", maximise=True)
    predict_options: ClassVar[tuple[str, ...]] = SEARCH_OPTIONS

    def __init__(self, corpus: CaptionCorpus, source: CaptionSource | None = None) -> None:
        self.corpus = corpus
        self.source = source
        self._model: Captioner | None = None

    @property
    def fingerprint(self) -> str:
        """Of features and captions."""
        return self.corpus.fingerprint

    def check_model(self, model: Any) -> None:
        """See `Task.check_model`."""
        super().check_model(model)
        size = len(self.corpus.train.columns)
        if model.config.input_size != size:
            raise ValueError(message("train", "model", f"{size} features as in the data", str(model.config.input_size)))
        self._model = model

    def feed(self, config: TrainConfig) -> BatchFeed:
        """Shuffled batches."""
        assert self._model is not None  # noqa: S101  # a trainer checks its model first
        return BatchFeed(CaptionBatches(self.corpus.train, self._model, config))

    def validate(self, model: Captioner, config: TrainConfig) -> dict[str, float] | None:
        """Nats a token, and the share of captions that greedy search finds exactly."""
        return scores_of(model, self.corpus.valid, beams=1) if self.corpus.valid.captions else None

    def test(self, model: Captioner) -> str | None:
        """The same by beam search."""
        if not self.corpus.test.captions:
            return None
        scores = scores_of(model, self.corpus.test)
        return f"{100 * scores['exact']:.2f}% exact, {len(self.corpus.test.captions):,} captions"

    def describe(self) -> str:
        """Sizes."""
        train, valid = self.corpus.train, self.corpus.valid
        sizes = f"{len(train.captions):,} captions to train on, {len(valid.captions):,} to validate on"
        return f"{sizes}, {len(train.columns)} features"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: Captioner) -> CaptionTask:
        """See `Task.read`."""
        files = cls.source_from_json(source)
        return cls(files.load(), files)

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> CaptionSource:
        """See `Task.source_from_json`."""
        return CaptionSource.from_json(value)

    @classmethod
    def evaluate(cls, model: Captioner, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Nats a token, exact matches by beam search."""
        rows = read_captions(path)
        return {**scores_of(model, rows), "captions": len(rows.captions)}

    @classmethod
    def predict(
        cls, model: Captioner, file: TextIO, name: str, options: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """The captions of each row of a CSV file with a header; a column "caption" is not looked at."""
        searching, number = Searching(options), 0
        _, rows = parse_rows(file, name, Records(), captions=False)
        for part in together(rows, name):
            for found in model.captions([values for values, _ in part], **searching.of(number)):
                for one in found:
                    facts = {"log_prob": one.log_prob, "score": one.score, "log_probs": list(one.log_probs)}
                    yield one.text, {"caption": one.text, **facts}
            number += len(part)


def scores_of(model: Captioner, rows: Captioned, *, beams: int | None = None, batch: int = 256) -> dict[str, float]:
    """Nats a token and the share of captions that are found exactly."""
    total, tokens, right = 0.0, 0, 0
    with model.evaluating():
        for at in range(0, len(rows.captions), batch):
            features, texts = rows.features[at : at + batch], rows.captions[at : at + batch]
            made = model.batch_of(features, texts)
            total += model.loss(made).item() * made.items
            tokens += made.items
            right += sum(a == b for a, b in zip(model.caption(features, beams=beams), texts, strict=True))
    return {"loss": total / tokens, "exact": right / len(rows.captions)}
