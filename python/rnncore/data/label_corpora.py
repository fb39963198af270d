"""Labelled data ready for training: what classifiers and taggers learn from, as ids, with vocabularies and labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from rnncore._messages import message
from rnncore.data.batches import Ids
from rnncore.data.labelled import Example
from rnncore.data.tagged import Sentence
from rnncore.data.vocabulary import Level, Vocabulary


def _fingerprint(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class ClassCorpus:
    """Texts with one label each, in up to three parts.

    Vocabulary and labels come from the training part; other characters or words are ``<unk>``.
    """

    vocabulary: Vocabulary
    labels: list[str]
    train: list[Example]
    valid: list[Example] = field(default_factory=list)
    test: list[Example] = field(default_factory=list)
    skipped: int = 0  # malformed records that were left out

    @classmethod
    def build(
        cls,
        train: list[Example],
        valid: list[Example] | None = None,
        test: list[Example] | None = None,
        *,
        level: Level = "char",
        min_count: int = 1,
        max_size: int | None = None,
        vocabulary: Vocabulary | None = None,
        labels: list[str] | None = None,
        skipped: int = 0,
    ) -> ClassCorpus:
        """Collect vocabulary and labels (in alphabetical order), unless they are given.

        Raises:
            ValueError: fewer than two labels, or a label that the training part lacks.
        """
        if vocabulary is None:
            text = "\n".join(example.text for example in train)
            vocabulary = Vocabulary.build(text, level=level, min_count=min_count, max_size=max_size, unknown=True)
        labels = sorted({example.label for example in train}) if labels is None else labels
        if len(labels) < 2:
            raise ValueError(message("labelled data", "labels", "at least two", ", ".join(labels)))
        known = set(labels)
        for example in [*train, *(valid or []), *(test or [])]:
            if example.label not in known:
                expected = f"one of {', '.join(labels[:20])}"
                raise ValueError(message("labelled data", f"label of {example.text[:40]!r}", expected, example.label))
        return cls(vocabulary, labels, train, valid or [], test or [], skipped)

    def encode(self, examples: Sequence[Example]) -> tuple[list[Ids], Ids]:
        """The ids of each text, and the labels' (n,)."""
        place = {label: index for index, label in enumerate(self.labels)}
        texts = [self.vocabulary.encode(example.text, end_line=False) for example in examples]
        return texts, np.array([place[example.label] for example in examples], dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything."""
        parts = [[(one.text, one.label) for one in part] for part in (self.train, self.valid, self.test)]
        return _fingerprint(self.vocabulary.to_json(), self.labels, parts)


@dataclass(frozen=True)
class TagCorpus:
    """Sentences with a tag a word, in up to three parts; vocabularies and labels as in `ClassCorpus`."""

    vocabulary: Vocabulary
    characters: Vocabulary
    labels: list[str]
    train: list[Sentence]
    valid: list[Sentence] = field(default_factory=list)
    test: list[Sentence] = field(default_factory=list)
    skipped: int = 0  # malformed sentences that were left out

    @classmethod
    def build(
        cls,
        train: list[Sentence],
        valid: list[Sentence] | None = None,
        test: list[Sentence] | None = None,
        *,
        min_count: int = 2,
        lower: bool = False,
        labels: list[str] | None = None,
        skipped: int = 0,
    ) -> TagCorpus:
        """Collect vocabularies and labels; words seen less often than `min_count` are ``<unk>``, which so is learnt.

        Raises:
            ValueError: fewer than two labels, or a tag that the training part lacks.
        """
        lines = [[word.lower() for word in one.words] if lower else one.words for one in train]
        vocabulary = Vocabulary.build(lines, level="word", min_count=min_count)
        letters = "".join(" ".join(one.words) for one in train)
        characters = Vocabulary.build(letters, unknown=True)
        labels = sorted({tag for one in train for tag in one.tags}) if labels is None else labels
        if len(labels) < 2:
            raise ValueError(message("tagged data", "labels", "at least two", ", ".join(labels)))
        known = set(labels)
        for one in [*train, *(valid or []), *(test or [])]:
            for word, tag in zip(one.words, one.tags, strict=True):
                if tag not in known:
                    expected = f"one of {', '.join(labels[:20])}"
                    raise ValueError(message("tagged data", f"tag of {word!r}", expected, tag))
        return cls(vocabulary, characters, labels, train, valid or [], test or [], skipped)

    def tag_ids(self, sentence: Sentence) -> Ids:
        """The tags of a sentence as ids (n,)."""
        return np.array([self._places[tag] for tag in sentence.tags], dtype=np.int64)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything."""
        parts = [[(one.words, one.tags) for one in part] for part in (self.train, self.valid, self.test)]
        return _fingerprint(self.vocabulary.to_json(), self.characters.to_json(), self.labels, parts)
