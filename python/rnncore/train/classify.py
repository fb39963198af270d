"""Classification as a task of the trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from rnncore import label_metrics
from rnncore._messages import message
from rnncore.data import ClassCorpus, ClassSource, Example
from rnncore.data.records import together
from rnncore.models.base import Model
from rnncore.models.classifier import Classifier, ClassifierBatch, pad_ids
from rnncore.nn import functional as F
from rnncore.train.batch_feed import BatchFeed, Buckets
from rnncore.train.config import TrainConfig
from rnncore.train.task import Feed, Objective, Task


class ClassBatches:
    """Padded texts of about equal lengths, in an order that depends on (seed, epoch) alone."""

    def __init__(self, corpus: ClassCorpus, config: TrainConfig) -> None:
        self._texts, self._targets = corpus.encode(corpus.train)
        lengths = [len(ids) for ids in self._texts]
        self._buckets = Buckets(lengths, config)
        self.padding = self._buckets.padding

    def __len__(self) -> int:
        return len(self._buckets)

    def batch(self, epoch: int, index: int) -> ClassifierBatch:
        """See `Batches`."""
        chosen = self._buckets.epoch(epoch)[index]
        ids, lengths = pad_ids([self._texts[i] for i in chosen])
        return ClassifierBatch(lengths, ids, targets=self._targets[chosen])


class ClassifyTask(Task):
    """Telling the label of a text.

    Args:
        corpus: the texts; accuracy on the validation part, where there is one, decides which model is best.
        source: the files that they came from.
    """

    kind: ClassVar[str] = "classifier"
    items = "texts"
    objective = Objective("accuracy", maximise=True)
    eval_options: ClassVar[tuple[str, ...]] = ("format", "picture")

    def __init__(self, corpus: ClassCorpus, source: ClassSource | None = None) -> None:
        self.corpus = corpus
        self.source = source

    @property
    def fingerprint(self) -> str:
        """Of texts, labels and vocabulary."""
        return self.corpus.fingerprint

    def feed(self, config: TrainConfig) -> Feed:
        """Shuffled batches of texts of about equal lengths."""
        return BatchFeed(ClassBatches(self.corpus, config))

    def validate(self, model: Classifier, config: TrainConfig) -> dict[str, float] | None:
        """Nats a text and accuracy."""
        return _scores(model, self.corpus, self.corpus.valid) if self.corpus.valid else None

    def test(self, model: Classifier) -> str | None:
        """Nats a text and accuracy."""
        if not self.corpus.test:
            return None
        scores = _scores(model, self.corpus, self.corpus.test)
        return f"accuracy {scores['accuracy']:.4f}, {scores['loss']:.4f} nats, {len(self.corpus.test):,} texts"

    def describe(self) -> str:
        """Sizes of data and vocabulary."""
        corpus = self.corpus
        sizes = f"{len(corpus.train):,} texts to train on, {len(corpus.valid):,} to validate on"
        return f"{sizes}, {len(corpus.labels)} labels, vocabulary {len(corpus.vocabulary):,}"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: Classifier) -> ClassifyTask:
        """See `Task.read`."""
        files = cls.source_from_json(source)
        return cls(files.load(labels=model.labels), files)

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> ClassSource:
        """See `Task.source_from_json`."""
        return ClassSource.from_json(value)

    def check_model(self, model: Model) -> None:
        """See `Task.check_model`."""
        super().check_model(model)
        assert isinstance(model, Classifier)  # noqa: S101  # its kind says so
        if model.labels != self.corpus.labels or model.config.vocab_size != len(self.corpus.vocabulary):
            expected = f"{len(self.corpus.labels)} labels and {len(self.corpus.vocabulary)} tokens as in the data"
            got = f"{len(model.labels)} and {model.config.vocab_size}"
            raise ValueError(message("train", "model", expected, got))

    @classmethod
    def evaluate(cls, model: Classifier, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Accuracy, balanced accuracy, macro F1; "picture" draws the confusion matrix."""
        reader = _reader(model, path)
        examples = reader.read(str(path), options.get("format") or reader.scored_format).items
        gold = [example.label for example in examples]
        for label in dict.fromkeys(gold):
            model.index_of(label)
        predicted = model.predict([example.text for example in examples])
        if options.get("picture"):
            counts = label_metrics.confusion(gold, predicted, model.labels)
            label_metrics.draw_confusion(counts, model.labels, options["picture"], Path(path).stem)
        return {**label_metrics.class_scores(gold, predicted), "texts": len(gold)}

    @classmethod
    def predict(
        cls, model: Classifier, file: TextIO, name: str, options: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """One text a line: its label, the probability, the text."""
        for lines in together(file, name):
            texts = [line.rstrip("\r\n") for line in lines]
            for text, shares in zip(texts, model.probabilities(texts), strict=True):
                best = int(shares.argmax())
                label, share = model.labels[best], float(shares[best])
                ranked = sorted(zip(model.labels, shares.tolist(), strict=True), key=lambda one: -one[1])
                yield f"{label}\t{share:.3f}\t{text}", {"text": text, "label": label, "probabilities": dict(ranked)}


def _reader(model: Model, path: Path) -> ClassSource:
    """The source that the model was trained from, or one that goes by the names of files."""
    source = (model.training_facts or {}).get("source")
    return ClassSource(train=str(path)) if source is None else ClassSource.from_json(source)


def _scores(model: Classifier, corpus: ClassCorpus, examples: list[Example], *, batch: int = 256) -> dict[str, float]:
    """Mean nats and accuracy, in batches of about equal lengths."""
    texts, targets = corpus.encode(examples)
    order = np.argsort([len(ids) for ids in texts], kind="stable")
    loss, right = 0.0, 0
    with model.evaluating():
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            ids, lengths = pad_ids([texts[i] for i in chosen])
            logits = model(ClassifierBatch(lengths, ids))
            loss += F.cross_entropy(logits, targets[chosen], reduction="sum").item()
            right += int((logits.numpy().argmax(axis=1) == targets[chosen]).sum())
    return {"loss": loss / len(examples), "accuracy": right / len(examples)}
