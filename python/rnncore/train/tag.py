"""Tagging as a task of the trainer: parts of speech, named entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from rnncore import label_metrics
from rnncore._messages import message
from rnncore.data import Sentence, TagCorpus, TagSource, is_bio
from rnncore.data.records import together
from rnncore.models.base import Model
from rnncore.models.tagger import Tagger, TaggerBatch
from rnncore.train.batch_feed import BatchFeed, Buckets
from rnncore.train.config import TrainConfig
from rnncore.train.task import Feed, Objective, Task


class TagBatches:
    """Padded sentences of about equal lengths, in an order that depends on (seed, epoch) alone."""

    def __init__(self, corpus: TagCorpus, model: Tagger, config: TrainConfig) -> None:
        self._words = [one.words for one in corpus.train]
        self._tags = [corpus.tag_ids(one) for one in corpus.train]
        self._model = model
        lengths = [len(words) for words in self._words]
        self._buckets = Buckets(lengths, config)
        self.padding = self._buckets.padding

    def __len__(self) -> int:
        return len(self._buckets)

    def batch(self, epoch: int, index: int) -> TaggerBatch:
        """See `Batches`."""
        chosen = self._buckets.epoch(epoch)[index]
        return self._model.batch_of([self._words[i] for i in chosen], [self._tags[i] for i in chosen])


class TagTask(Task):
    """Telling the tag of every word of a sentence.

    Args:
        corpus: the sentences. The validation part, where there is one, decides which model is best: by accuracy, of BIO
            tags by the F1 of whole entities.
        source: the files that they came from.
    """

    kind: ClassVar[str] = "tagger"
    items = "words"
    eval_options: ClassVar[tuple[str, ...]] = ("format",)

    def __init__(self, corpus: TagCorpus, source: TagSource | None = None) -> None:
        self.corpus = corpus
        self.source = source
        self.bio = any(label.startswith("B-") for label in corpus.labels)
        self.objective = Objective("f1" if self.bio else "accuracy", maximise=True)

    @property
    def fingerprint(self) -> str:
        """Of sentences, tags and vocabularies."""
        return self.corpus.fingerprint

    def check_model(self, model: Model) -> None:
        """See `Task.check_model`."""
        super().check_model(model)
        assert isinstance(model, Tagger)  # noqa: S101  # its kind says so
        if model.labels != self.corpus.labels or model.config.vocab_size != len(self.corpus.vocabulary):
            expected = f"{len(self.corpus.labels)} labels and {len(self.corpus.vocabulary)} words as in the data"
            got = f"{len(model.labels)} and {model.config.vocab_size}"
            raise ValueError(message("train", "model", expected, got))
        if self.bio:
            self._check_bio()
        self._model = model

    def _check_bio(self) -> None:
        """Decoding gives BIO sequences alone, with a CRF or without, and entities are counted by them."""
        parts = {"training": self.corpus.train, "validation": self.corpus.valid, "test": self.corpus.test}
        for name, sentences in parts.items():
            for sentence in sentences:
                if not is_bio(sentence.tags):
                    expected = "BIO sequences (I-x only after B-x or I-x), since there are B- tags"
                    tags = " ".join(sentence.tags)
                    raise ValueError(message("train", f"tags of the {name} part", expected, tags))
        if self.corpus.valid or self.corpus.test:
            label_metrics.require_entity_scores()

    def feed(self, config: TrainConfig) -> Feed:
        """Shuffled batches of sentences of about equal lengths."""
        return BatchFeed(TagBatches(self.corpus, self._model, config))

    def validate(self, model: Tagger, config: TrainConfig) -> dict[str, float] | None:
        """Nats and accuracy a word; of BIO tags also precision, recall and F1 of entities."""
        return _scores(model, self.corpus.valid) if self.corpus.valid else None

    def test(self, model: Tagger) -> str | None:
        """The same on the test part."""
        if not self.corpus.test:
            return None
        scores = _scores(model, self.corpus.test)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items() if name != "loss")
        return f"{shown}, {sum(len(one.words) for one in self.corpus.test):,} words"

    def describe(self) -> str:
        """Sizes of data and vocabulary."""
        corpus = self.corpus
        sizes = f"{len(corpus.train):,} sentences to train on, {len(corpus.valid):,} to validate on"
        return f"{sizes}, {len(corpus.labels)} labels, vocabulary {len(corpus.vocabulary):,}"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: Tagger) -> TagTask:
        """See `Task.read`."""
        files = cls.source_from_json(source)
        return cls(files.load(labels=model.labels), files)

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> TagSource:
        """See `Task.source_from_json`."""
        return TagSource.from_json(value)

    @classmethod
    def evaluate(cls, model: Tagger, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Accuracy a word; of BIO tags also precision, recall and F1 of entities."""
        source = (model.training_facts or {}).get("source")
        reader = TagSource(train=str(path)) if source is None else TagSource.from_json(source)
        sentences = reader.read(str(path), options.get("format")).items
        for tag in dict.fromkeys(tag for one in sentences for tag in one.tags):
            model.index_of(tag)
        scores = _scores(model, sentences)
        return {**scores, "sentences": len(sentences), "words": sum(len(one.words) for one in sentences)}

    @classmethod
    def predict(cls, model: Tagger, file: TextIO, name: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """One sentence a line, its words separated by white space: word and tag on a line each, then a blank line."""
        for lines in together(file, name):
            sentences = [line.split() for line in lines]
            for words, tags in zip(sentences, model.predict(sentences), strict=True):
                shown = "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
                yield shown, {"words": words, "tags": tags}


def _scores(model: Tagger, sentences: list[Sentence], *, batch: int = 64) -> dict[str, float]:
    """Mean nats, accuracy and, of BIO tags, entity scores; in batches of about equal lengths."""
    order = np.argsort([len(one.words) for one in sentences], kind="stable")
    gold: list[list[str]] = []
    found: list[list[str]] = []
    loss, words = 0.0, 0
    for at in range(0, len(order), batch):
        chosen = [sentences[i] for i in order[at : at + batch]]
        tags = [np.array([model.index_of(tag) for tag in one.tags], dtype=np.int64) for one in chosen]
        made = model.batch_of([one.words for one in chosen], tags)
        best, nats = model.best_and_loss(made)
        loss += nats * made.items
        words += made.items
        gold += [one.tags for one in chosen]
        found += [[model.labels[index] for index in ids.tolist()] for ids in best]
    right = sum(a == b for one, other in zip(gold, found, strict=True) for a, b in zip(one, other, strict=True))
    scores = {"loss": loss / words, "accuracy": right / words}
    return {**scores, **label_metrics.entity_scores(gold, found)} if model.config.bio else scores
