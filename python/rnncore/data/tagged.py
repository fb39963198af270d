"""Readers of sentences with a tag for each word: CoNLL-U, and two columns (token, tag) as for named entities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rnncore._messages import message
from rnncore.data.records import OnError, Records, lines_of
from rnncore.data.text import PathLike

FORMATS = ("conllu-upos", "conllu-xpos", "conll")
_COLUMN = {"conllu-upos": 3, "conllu-xpos": 4}


@dataclass(frozen=True)
class Sentence:
    """Words and their tags, as many as words."""

    words: list[str]
    tags: list[str]


@dataclass(frozen=True)
class TaggedSentences:
    """What a reader found: `items`, and how many malformed sentences it left out."""

    items: list[Sentence]
    skipped: int = 0


def read_sentences(path: PathLike, format: str | None = None, *, on_error: OnError = "raise") -> TaggedSentences:
    """Read tagged sentences, separated by blank lines; a file whose name ends in ``.gz`` is unpacked.

    Args:
        path: the file.
        format: "conllu-upos" (default for ``.conllu``) or "conllu-xpos": ten columns separated by tabs; multiword
            tokens (1-2), empty nodes (8.1) and comments are left out. "conll" (default): the token first, the tag last,
            as many columns in every line; separated by tabs where a line has one (a token may hold blanks then), else
            by white space.
        on_error: "raise": a malformed line is an error that names file and line; "skip": its sentence is left out
            and counted.

    Raises:
        OSError: the file cannot be read.
        ValueError: an unknown format, a malformed line, or nothing but those.
    """
    name = str(path)
    kind = format or ("conllu-upos" if name.removesuffix(".gz").endswith(".conllu") else "conll")
    if kind not in FORMATS:
        raise ValueError(message("read data", "format", " | ".join(FORMATS), repr(kind)))
    records = Records(on_error)
    items = []
    columns = _Columns()
    for block in _blocks(path):
        sentence = _sentence(name, block, kind, records, columns)
        if sentence is not None and sentence.words:
            items.append(sentence)
    if not items:
        raise ValueError(message("read data", name, "at least one sentence", f"none ({records.skipped} skipped)"))
    return TaggedSentences(items, records.skipped)


def _blocks(path: PathLike) -> Iterator[list[tuple[int, str]]]:
    block: list[tuple[int, str]] = []
    for number, line in lines_of(path):
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


class _Columns:
    """Splits the lines of a file that all have as many columns."""

    def __init__(self) -> None:
        self.count = 0  # not known yet

    def split(self, line: str) -> list[str]:
        """The cells.

        Raises:
            ValueError: too few, or not as many as in the lines before; its text says what was expected.
        """
        cells = [cell.strip() for cell in line.strip().split("\t")] if "\t" in line.strip() else line.split()
        if len(cells) < 2 or not cells[0] or not cells[-1]:
            raise ValueError("token and tag")
        self.count = self.count or len(cells)
        if len(cells) != self.count:
            raise ValueError(f"{self.count} columns as in the lines before")
        return cells


def _sentence(
    name: str, block: list[tuple[int, str]], kind: str, records: Records, separator: _Columns
) -> Sentence | None:
    """None: malformed, and skipped."""
    words, tags = [], []
    for number, line in block:
        if kind == "conll":
            try:
                columns = separator.split(line)
            except ValueError as error:
                records.bad(name, number, str(error), line)
                return None
            words.append(columns[0])
            tags.append(columns[-1])
            continue
        if line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) != 10 or not re.fullmatch(r"\d+([-.]\d+)?", columns[0]):
            records.bad(name, number, "ten columns separated by tabs", line)
            return None
        if columns[0].isdigit():
            words.append(columns[1])
            tags.append(columns[_COLUMN[kind]])
    return Sentence(words, tags)


def is_bio(tags: list[str]) -> bool:
    """Whether a sequence of tags is BIO: "I-X" only after "B-X" or "I-X".

    >>> is_bio(["O", "B-person", "I-person"]), is_bio(["O", "I-person"])
    (True, False)
    """
    before = "O"
    for tag in tags:
        if tag.startswith("I-") and before not in (tag, "B-" + tag[2:]):
            return False
        before = tag
    return True
