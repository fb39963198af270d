"""Parallel texts: lines and their translations, vocabularies of both sides, where they came from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import get_args

from rnncore._messages import message
from rnncore.data.file_source import FileSource
from rnncore.data.records import OnError, Records, lines_of
from rnncore.data.subwords import Subwords, TextVocabulary
from rnncore.data.text import PathLike
from rnncore.data.vocabulary import Level, Vocabulary

LEVELS = (*get_args(Level)[::2], Subwords.level)  # char, word, subword


@dataclass(frozen=True)
class Pair:
    """A line and its translation."""

    source: str
    target: str


@dataclass(frozen=True)
class Pairs:
    """What a reader found: `items`, and how many malformed records it left out."""

    items: list[Pair]
    skipped: int = 0


def read_pairs(path: PathLike, *, on_error: OnError = "raise") -> Pairs:
    """Read parallel text; files whose names end in ``.gz`` are unpacked.

    Args:
        path: ``name.{de,en}``: two files of as many lines, the source first; or one file with source and target a line,
            separated by a tab.
        on_error: "raise": a malformed record is an error that names file and line; "skip": it is left out and counted.

    Raises:
        OSError: a file cannot be read.
        ValueError: a side without text, a line without its translation, or nothing but those.
    """
    records, name, items = Records(on_error), str(path), []
    if braces := re.fullmatch(r"(.*)\{([^,{}]+),([^,{}]+)\}(.*)", name):
        before, *sides, after = braces.groups()
        files = [f"{before}{side}{after}" for side in sides]
        lines = [_whole_lines(file) for file in files]
        for number, (source, target) in enumerate(zip_longest(*lines), start=1):
            for file, text in zip(files, (source, target), strict=True):
                if text is None or not text.strip():
                    records.bad(file, number, "a text, as in the file beside it", "no line" if text is None else text)
                    break
            else:
                items.append(Pair(source.strip(), target.strip()))
    else:
        for number, line in enumerate(_whole_lines(name), start=1):
            columns = [column.strip() for column in line.split("\t")]
            if len(columns) == 2 and all(columns):
                items.append(Pair(*columns))
            else:
                records.bad(name, number, "source and target, separated by a tab", line)
    if not items:
        raise ValueError(message("read data", name, "at least one pair", f"none ({records.skipped} skipped)"))
    return Pairs(items, records.skipped)


def _whole_lines(path: PathLike) -> list[str]:
    lines = [line for _, line in lines_of(path)]
    return lines[:-1] if lines[-1] == "" else lines


def build_vocabulary(lines: Sequence[str], level: str, *, size: int = 8000, lower: bool = False) -> TextVocabulary:
    """A vocabulary with an end of line for lines of text, at most `size` tokens.

    Args:
        lines: the training text.
        level: "subword" (needs the extra `subword`), "word" (split at white space) or "char".
        size: at most so many tokens.
        lower: read everything in lower case.

    Raises:
        ValueError: another level.
        ImportError: subwords, and `tokenizers` is missing.
    """
    if level not in LEVELS:
        raise ValueError(message("vocabulary", "level", " | ".join(LEVELS), repr(level)))
    if level == Subwords.level:
        return Subwords.build(lines, size=size, lower=lower)
    text = "".join(f"{line}\n" for line in lines)
    return Vocabulary.build(text.lower() if lower else text, level=_plain(level), max_size=size, unknown=True)


def _plain(level: str) -> Level:
    return "word" if level == "word" else "char"


@dataclass
class PairCorpus:
    """Parallel text in three parts with the vocabularies of its two sides; `valid` and `test` may be empty."""

    source: TextVocabulary
    target: TextVocabulary
    train: list[Pair]
    valid: list[Pair]
    test: list[Pair]
    skipped: int = 0

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything."""
        parts = [[(one.source, one.target) for one in part] for part in (self.train, self.valid, self.test)]
        whole = json.dumps([self.source.to_json(), self.target.to_json(), parts], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()


@dataclass(frozen=True)
class PairSource(FileSource):
    """Files of parallel text.

    Attributes:
        train, valid, test: as for `read_pairs`; without `valid` the last `valid_fraction` of `train` is held out.
        on_error: "raise" or "skip" malformed records.
        level: "subword", "word" or "char".
        size: the largest size of each vocabulary.
        lower: read everything in lower case.
        max_length: training pairs with a longer side, in tokens, are left out.
        select: what the best model is chosen by: "loss" or "bleu".
    """

    train: str
    valid: str | None = None
    test: str | None = None
    on_error: OnError = "raise"
    valid_fraction: float = 0.02
    level: str = "subword"
    size: int = 8000
    lower: bool = False
    max_length: int = 100
    select: str = "loss"

    def load(self, *, source: TextVocabulary | None = None, target: TextVocabulary | None = None) -> PairCorpus:
        """Read the files; `source`, `target`: use these vocabularies instead of building them."""
        whole = read_pairs(self.train, on_error=self.on_error)
        none = Pairs([])
        given = none if self.valid is None else read_pairs(self.valid, on_error=self.on_error)
        test = none if self.test is None else read_pairs(self.test, on_error=self.on_error)
        train, valid, skipped = whole.items, given.items, whole.skipped + given.skipped + test.skipped
        if self.valid is None and (held := round(self.valid_fraction * len(train))):
            train, valid = train[:-held], train[-held:]
        if not train:
            raise ValueError(message("translation", "train", "at least one pair", "none but those held out"))
        found = [
            build_vocabulary(lines, self.level, size=self.size, lower=self.lower) if known is None else known
            for lines, known in (([one.source for one in train], source), ([one.target for one in train], target))
        ]
        return PairCorpus(found[0], found[1], train, valid, test.items, skipped)
