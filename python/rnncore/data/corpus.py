"""TextCorpus: a text as ids, split for training, validation and test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from rnncore._messages import message
from rnncore.data.batches import Ids, Sentences, Streams
from rnncore.data.mapped import MappedIds
from rnncore.data.subwords import DEFAULT_SIZE, Subwords, TextVocabulary, TokenLevel
from rnncore.data.text import PathLike, decode_utf8, read_bytes
from rnncore.data.vocabulary import Vocabulary


def tinyshakespeare() -> Path:
    """The path of the bundled text: 1,115,394 characters of Shakespeare's plays (public domain), pure ASCII."""
    return Path(__file__).with_name("tinyshakespeare.txt")


def _no_tokens() -> Ids:
    return np.empty(0, dtype=np.uint8)


@dataclass(frozen=True)
class TextCorpus:
    """A text as ids (L,) in up to three parts, and the vocabulary.

    Where one file is split, validation and test are its contiguous end: `train`, then `valid`, then `test`.
    The vocabulary is built from the training part alone, but for characters of a single file from all of it.

    Example:
        >>> corpus = TextCorpus.from_text("to be or not to be " * 20, valid=0.1)
        >>> len(corpus.train), len(corpus.valid), len(corpus.vocabulary)
        (342, 38, 7)
    """

    vocabulary: TextVocabulary
    train: Ids
    valid: Ids = field(default_factory=_no_tokens)
    test: Ids = field(default_factory=_no_tokens)

    @classmethod
    def from_text(
        cls,
        text: str | bytes,
        *,
        level: TokenLevel = "char",
        valid: float = 0.1,
        test: float = 0.0,
        max_size: int | None = None,
        min_count: int = 1,
        vocabulary: TextVocabulary | None = None,
        origin: str = "text",
    ) -> TextCorpus:
        """Split one text.

        Args:
            text: the text; `bytes` must be UTF-8 unless level is "byte".
            level: "char", "byte", "word" or "subword" (needs the extra `subword`).
            valid: fraction for validation, in [0, 1); words and subwords are cut at a line's start; default 0.1.
            test: fraction for the test, in [0, 1); default 0.
            max_size: limit of the vocabulary, see `Vocabulary.build`; of subwords, pieces of bytes, 8000 by default.
            min_count: limit of the vocabulary, see `Vocabulary.build` and `Subwords.build`.
            vocabulary: use this one, of the same level, instead of building one.
            origin: what to call the text in errors.

        Raises:
            ValueError: bad fractions, invalid UTF-8, an empty text, unknown characters.
        """
        return cls._split(text, (None, None), (valid, test), level, max_size, min_count, vocabulary, origin)

    @classmethod
    def from_files(
        cls,
        train: PathLike,
        valid: PathLike | None = None,
        test: PathLike | None = None,
        *,
        level: TokenLevel = "char",
        valid_fraction: float = 0.1,
        test_fraction: float = 0.0,
        max_size: int | None = None,
        min_count: int = 1,
        vocabulary: TextVocabulary | None = None,
    ) -> TextCorpus:
        """Read UTF-8 files (any bytes for level "byte").

        Args:
            train: the training text, from whose end come the parts that have no file.
            valid: a validation text of its own.
            test: a test text of its own.
            level: "char", "byte", "word" or "subword" (needs the extra `subword`).
            valid_fraction: how much of `train` to validate on, where there is no `valid`; default 0.1.
            test_fraction: how much of `train` to test on, where there is no `test`; default 0.
            max_size: as in `from_text`.
            min_count: as in `from_text`.
            vocabulary: as in `from_text`.

        Raises:
            OSError: a file cannot be read.
            ValueError: as in `from_text`, and an empty file.
        """
        fractions = (valid_fraction if valid is None else 0.0, test_fraction if test is None else 0.0)
        text = read_bytes(train)
        return cls._split(text, (valid, test), fractions, level, max_size, min_count, vocabulary, str(train))

    @classmethod
    def _split(
        cls,
        text: str | bytes,
        files: tuple[PathLike | None, PathLike | None],
        fractions: tuple[float, float],
        level: TokenLevel,
        max_size: int | None,
        min_count: int,
        vocabulary: TextVocabulary | None,
        origin: str,
    ) -> TextCorpus:
        valid, test = fractions
        if not (0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
            got = f"valid={valid}, test={test}"
            raise ValueError(message("corpus", "valid, test", "fractions that leave something to train on", got))
        if not text:
            raise ValueError(message("corpus", origin, "some text", "none"))
        text = _as_level(text, level, origin)
        at_valid, at_test = _cuts(text, level, valid, test)
        parts = {"train": text[:at_valid], "valid": text[at_valid:at_test], "test": text[at_test:]}
        for name, path in zip(("valid", "test"), files, strict=True):
            if path is not None:
                parts[name] = _as_level(read_bytes(path), level, str(path))
        if vocabulary is None:
            # A character that only the end of a text has is no reason to refuse the text; words have <unk> for that.
            vocabulary = _build(text if level == "char" else parts["train"], level, max_size, min_count)
        return cls(vocabulary, **{name: vocabulary.encode(part) for name, part in parts.items() if part})

    def streams(self, part: str = "train", *, batch: int, bptt: int) -> Streams:
        """Contiguous streams of a part; full chunks for "train", every token for "valid" and "test"."""
        return Streams(self.part(part), batch=batch, bptt=bptt, every_token=part != "train")

    def sentences(self, part: str = "train", *, batch: int, max_length: int | None = None) -> Sentences:
        """Padded sentence batches of a part; a sentence is a line.

        Raises:
            ValueError: the vocabulary has no line end.
        """
        end = self.vocabulary.end_id
        if isinstance(self.part(part), MappedIds):
            raise ValueError(message("sentences", "corpus", "one in memory", "one on disk", "use streams"))
        if end is None:
            raise ValueError(message("sentences", "vocabulary", "a line end", "none", "the text is a single line"))
        return Sentences(self.part(part), end_id=end, batch=batch, max_length=max_length)

    def part(self, name: str) -> Ids:
        """The ids of "train", "valid" or "test"."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        if name not in parts:
            raise ValueError(message("corpus", "part", " | ".join(parts), repr(name)))
        return parts[name]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over vocabulary and ids: a resumed run checks that it reads the same data."""
        digest = hashlib.sha256(repr(self.vocabulary.to_json()).encode())
        for part in (self.train, self.valid, self.test):
            digest.update(f"|{part.dtype}{len(part)}|".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def _build(text: str | bytes, level: TokenLevel, max_size: int | None, min_count: int) -> TextVocabulary:
    known = text if isinstance(text, str) else ""
    if level == "subword":
        size = DEFAULT_SIZE if max_size is None else max_size
        return Subwords.build(known.split("\n"), size=size, min_count=min_count, byte_level=True)
    return Vocabulary.build(known, level=level, max_size=max_size, min_count=min_count)


def _as_level(text: str | bytes, level: TokenLevel, origin: str) -> str | bytes:
    """Bytes for the byte level, a string for the others."""
    if level == "byte":
        return text.encode("utf-8") if isinstance(text, str) else text
    return decode_utf8(text, origin) if isinstance(text, bytes) else text


def _cuts(text: str | bytes, level: TokenLevel, valid: float, test: float) -> tuple[int, int]:
    """Where validation and test begin; for words and subwords a cut moves back to the start of a line."""
    cuts = (len(text) - round((valid + test) * len(text)), len(text) - round(test * len(text)))
    if level not in ("word", "subword") or not isinstance(text, str):
        return cuts
    at_valid, at_test = (cut if cut == len(text) else _word_boundary(text, cut) for cut in cuts)
    return at_valid, max(at_valid, at_test)


def _word_boundary(text: str, cut: int) -> int:
    """The start of the line at `cut`, or, where that is the start of the text, of the word."""
    for separator in ("\n", " "):
        at = text.rfind(separator, 0, cut) + 1
        if at > 0:
            return at
    return cut
