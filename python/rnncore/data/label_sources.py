"""Where labelled data came from, so that a stopped run finds it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnncore.data.file_source import FileSource
from rnncore.data.label_corpora import ClassCorpus, TagCorpus
from rnncore.data.labelled import Examples, read_examples
from rnncore.data.records import OnError
from rnncore.data.splits import stratified_split
from rnncore.data.tagged import TaggedSentences, read_sentences
from rnncore.data.vocabulary import Level


@dataclass(frozen=True)
class LabelSource(FileSource):
    """What sources of labelled data share.

    Attributes:
        train, valid, test: paths, as `read_examples` and `read_sentences` take them. Where `valid` or `test` is not
            given, a share of `train` is held out.
        format: of all files; None: by the name.
        on_error: "raise" or "skip" malformed records.
        valid_fraction, test_fraction: shares of `train` that are held out; 0: none.
        seed: of the split.
        min_count: rarer words (characters) are ``<unk>``.
    """

    train: str
    valid: str | None = None
    test: str | None = None
    format: str | None = None
    on_error: OnError = "raise"
    valid_fraction: float = 0.1
    test_fraction: float = 0.0
    seed: int = 0
    min_count: int = 1

    def _hold_out(self, strata: Sequence[str]) -> tuple[list[int], list[int], list[int]]:
        """Training, validation and test indices of `train`."""
        kept = list(range(len(strata)))
        test: list[int] = []
        valid: list[int] = []
        if self.test is None and self.test_fraction:
            first, held = stratified_split(strata, self.test_fraction, self.seed)
            kept, test = first.tolist(), held.tolist()
        if self.valid is None and self.valid_fraction:
            inner, held = stratified_split([strata[i] for i in kept], self.valid_fraction, self.seed + 1)
            kept, valid = [kept[i] for i in inner], [kept[i] for i in held]
        return kept, valid, test


@dataclass(frozen=True)
class ClassSource(LabelSource):
    """Files of labelled texts.

    Attributes:
        level: "char" or "word".
        max_size: limit of the vocabulary.
        text_column, label_column: of CSV and TSV.
    """

    level: Level = "char"
    max_size: int | None = None
    text_column: str = "text"
    label_column: str = "label"

    def read(self, path: str, format: str | None = None) -> Examples:
        """A file, read like this source's own."""
        return read_examples(
            path, format or self.format, on_error=self.on_error, text_column=self.text_column,
            label_column=self.label_column,
        )  # fmt: skip

    @property
    def scored_format(self) -> str | None:
        """Of files to be scored: trees by their sentences, even where phrases are trained on."""
        return self.format and self.format.removesuffix("-phrases")

    def load(self, *, labels: list[str] | None = None) -> ClassCorpus:
        """Read the files."""
        whole = self.read(self.train)
        parts = self._hold_out([one.label for one in whole.items])
        train, valid, test = (Examples([whole.items[i] for i in part]) for part in parts)
        valid = valid if self.valid is None else self.read(self.valid, self.scored_format)
        test = test if self.test is None else self.read(self.test, self.scored_format)
        return ClassCorpus.build(
            train.items, valid.items, test.items, level=self.level, min_count=self.min_count, max_size=self.max_size,
            labels=labels, skipped=whole.skipped + valid.skipped + test.skipped,
        )  # fmt: skip


@dataclass(frozen=True)
class TagSource(LabelSource):
    """Files of tagged sentences.

    Attributes:
        lower: words are looked up in lower case.
    """

    lower: bool = False

    def read(self, path: str, format: str | None = None) -> TaggedSentences:
        """A file, read like this source's own."""
        return read_sentences(path, format or self.format, on_error=self.on_error)

    def load(self, *, labels: list[str] | None = None) -> TagCorpus:
        """Read the files."""
        whole = self.read(self.train)
        parts = self._hold_out([""] * len(whole.items))
        train, valid, test = (TaggedSentences([whole.items[i] for i in part]) for part in parts)
        valid = valid if self.valid is None else self.read(self.valid)
        test = test if self.test is None else self.read(self.test)
        return TagCorpus.build(
            train.items, valid.items, test.items, min_count=self.min_count, lower=self.lower, labels=labels,
            skipped=whole.skipped + valid.skipped + test.skipped,
        )  # fmt: skip
