"""Where a corpus came from, so that a stopped run finds its data again."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rnncore._messages import message
from rnncore.data.corpus import TextCorpus
from rnncore.data.disk import is_prepared, open_corpus
from rnncore.data.file_source import FileSource
from rnncore.data.subwords import Subwords, TextVocabulary, TokenLevel


@dataclass(frozen=True)
class TextSource(FileSource):
    """Files and options of a `TextCorpus.from_files`.

    Attributes:
        train, valid, test: paths; `train` may be a folder that `prepare` made. Without `valid` and `test`, the training
            file is split by the fractions.
        level: "char", "byte", "word" or "subword".
        valid_fraction, test_fraction: see `TextCorpus.from_files`.
        max_size, min_count: limits of the vocabulary.
        tokenizer: a ``tokenizer.json`` for the level "subword", instead of pieces that are learnt from the text.
    """

    train: str
    valid: str | None = None
    test: str | None = None
    level: TokenLevel = "char"
    valid_fraction: float = 0.1
    test_fraction: float = 0.0
    max_size: int | None = None
    min_count: int = 1
    tokenizer: str | None = None

    def load(self, vocabulary: TextVocabulary | None = None) -> TextCorpus:
        """Read the files, or open a prepared corpus; `vocabulary`: use this one instead of building one.

        Raises:
            OSError: a file cannot be read.
            ValueError: bad options, or a prepared corpus with another vocabulary or beside other texts.
        """
        if is_prepared(self.train):
            return self._open(vocabulary)
        options = asdict(self)
        train, valid, test, tokenizer = (options.pop(name) for name in ("train", "valid", "test", "tokenizer"))
        if tokenizer is not None and self.level != Subwords.level:
            raise ValueError(message("text source", "tokenizer", "none at other levels than subword", tokenizer))
        if tokenizer is not None and vocabulary is None:
            vocabulary = Subwords.from_file(tokenizer)
        return TextCorpus.from_files(train, valid, test, vocabulary=vocabulary, **options)

    def _open(self, vocabulary: TextVocabulary | None) -> TextCorpus:
        if self.valid is not None or self.test is not None:
            got = ", ".join(path for path in (self.valid, self.test) if path)
            raise ValueError(message("text source", "valid, test", "none: a prepared corpus has its own", got))
        corpus = open_corpus(self.train)
        if vocabulary is not None and corpus.vocabulary != vocabulary:
            raise ValueError(message("text source", self.train, "the vocabulary of the model", "another"))
        return corpus

    def describe(self) -> str:
        """Path and level."""
        return f"{self.train} ({self.level})"
