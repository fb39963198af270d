"""Where a corpus came from, so that a stopped run finds its data again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rnncore._messages import message
from rnncore.data.corpus import TextCorpus
from rnncore.data.disk import is_prepared, open_corpus
from rnncore.data.vocabulary import Level, Vocabulary


@dataclass(frozen=True)
class TextSource:
    """Files and options of a `TextCorpus.from_files`.

    Attributes:
        train, valid, test: paths; `train` may be a folder that `prepare` made. Without `valid` and `test`, the training
            file is split by the fractions.
        level: "char", "byte" or "word".
        valid_fraction, test_fraction: see `TextCorpus.from_files`.
        max_size, min_count: limits of the vocabulary.
    """

    train: str
    valid: str | None = None
    test: str | None = None
    level: Level = "char"
    valid_fraction: float = 0.1
    test_fraction: float = 0.0
    max_size: int | None = None
    min_count: int = 1

    def load(self, vocabulary: Vocabulary | None = None) -> TextCorpus:
        """Read the files, or open a prepared corpus; `vocabulary`: use this one instead of building one.

        Raises:
            OSError: a file cannot be read.
            ValueError: bad options, or a prepared corpus with another vocabulary or beside other texts.
        """
        if is_prepared(self.train):
            return self._open(vocabulary)
        options = asdict(self)
        train, valid, test = (options.pop(name) for name in ("train", "valid", "test"))
        return TextCorpus.from_files(train, valid, test, vocabulary=vocabulary, **options)

    def _open(self, vocabulary: Vocabulary | None) -> TextCorpus:
        if self.valid is not None or self.test is not None:
            got = ", ".join(path for path in (self.valid, self.test) if path)
            raise ValueError(message("text source", "valid, test", "none: a prepared corpus has its own", got))
        corpus = open_corpus(self.train)
        if vocabulary is not None and corpus.vocabulary != vocabulary:
            raise ValueError(message("text source", self.train, "the vocabulary of the model", "another"))
        return corpus

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)

    def describe(self) -> str:
        """Path and level."""
        return f"{self.train} ({self.level})"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TextSource:
        """Rebuild what `to_json` gave.

        Raises:
            ValueError: unknown or missing names.
        """
        names = {field.name for field in fields(cls)}
        if set(value) != names:
            raise ValueError(message("text source", "fields", ", ".join(sorted(names)), ", ".join(sorted(value))))
        return cls(**value)
