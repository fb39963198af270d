"""Vocabularies: text to ids and back, for characters, bytes and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message

Level = Literal["char", "byte", "word"]
LEVELS: tuple[str, ...] = get_args(Level)
UNKNOWN = "<unk>"
END_OF_SEQUENCE = "<eos>"
Ids = NDArray[Any]

_NO_ID = -1


def _counts(text: str) -> dict[str, int]:
    """How often each character occurs, by NumPy (a Counter takes ten times as long)."""
    points, counts = np.unique(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32), return_counts=True)
    return {chr(point): int(count) for point, count in zip(points.tolist(), counts.tolist(), strict=True)}


def smallest_dtype(size: int) -> type[np.unsignedinteger[Any]]:
    """The smallest NumPy type that holds the ids 0..size-1."""
    if size <= 1 << 8:
        return np.uint8
    return np.uint16 if size <= 1 << 16 else np.uint32


def words_of(text: str) -> list[str]:
    r"""Split into words with one ``<eos>`` for each line, as in the Penn Treebank experiments.

    >>> words_of("a b\n\nc")
    ['a', 'b', '<eos>', '<eos>', 'c', '<eos>']
    """
    words = text.replace("\n", f" {END_OF_SEQUENCE} ").split()
    if text and not text.endswith("\n"):
        words.append(END_OF_SEQUENCE)
    return words


class Vocabulary:
    """The tokens of a model and their ids 0..V-1.

    Args:
        level: "char" (Unicode characters), "byte" (always the 256 bytes) or "word" (split at white space,
            ``<eos>`` ends each line).
        tokens: the tokens in the order of their ids; for "byte" it must be empty.
        unknown: the token that stands for all others; None: other tokens are an error.

    Example:
        >>> vocabulary = Vocabulary.build("hello", level="char")
        >>> vocabulary.tokens
        ('e', 'h', 'l', 'o')
        >>> vocabulary.decode(vocabulary.encode("hello"))
        'hello'
    """

    def __init__(self, level: Level, tokens: Sequence[str], unknown: str | None = None) -> None:
        if level not in LEVELS:
            raise ValueError(message("vocabulary", "level", " | ".join(LEVELS), repr(level)))
        self.level: Level = level
        self.tokens: tuple[str, ...] = tuple(tokens)
        self.unknown = unknown
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        self._check()
        self._table = self._make_table() if level == "char" else np.empty(0, dtype=np.int32)

    def _check(self) -> None:
        if self.level == "byte":
            if self.tokens or self.unknown is not None:
                raise ValueError(message("vocabulary", "tokens", "none for the byte level", str(len(self.tokens))))
            return
        if not self.tokens:
            raise ValueError(message("vocabulary", "tokens", "at least one", "none"))
        if len(self._ids) != len(self.tokens):
            twice = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise ValueError(message("vocabulary", "tokens", "different tokens", f"{twice!r} twice"))
        if self.unknown is not None and self.unknown not in self._ids:
            raise ValueError(message("vocabulary", "unknown", "one of the tokens", repr(self.unknown)))
        if self.level == "char":
            for token in self.tokens:
                if len(token) != 1 and token != self.unknown:
                    raise ValueError(message("vocabulary", "tokens", "single characters", repr(token)))

    def _make_table(self) -> NDArray[np.int32]:
        characters = [token for token in self.tokens if len(token) == 1]
        size = max(map(ord, characters), default=0) + 1
        fill = _NO_ID if self.unknown is None else self._ids[self.unknown]
        table = np.full(size + 1, fill, dtype=np.int32)  # the last entry stands for every higher code point
        for character in characters:
            table[ord(character)] = self._ids[character]
        return table

    @classmethod
    def build(
        cls,
        text: str | Iterable[Sequence[str]],
        *,
        level: Level = "char",
        max_size: int | None = None,
        min_count: int = 1,
        unknown: bool | None = None,
    ) -> Vocabulary:
        """Collect the vocabulary of a text.

        Args:
            text: the training text; or, for words, its lines as lists of words, which may hold blanks then.
            level: "char", "byte" or "word".
            max_size: at most this many tokens (the most frequent), special tokens included; default: all.
            min_count: tokens seen less often become ``<unk>``; default 1.
            unknown: whether there is an ``<unk>``; default: for words always, for characters where `max_size` or
                `min_count` drops some.

        Returns:
            Characters in the order of their code points, words by falling frequency (equals in dictionary order).

        Raises:
            ValueError: an empty text, sizes below 1.
        """
        counts: Mapping[str, int] = {}
        if level == "word" and not isinstance(text, str):
            counts = Counter(word for line in text for word in (*line, END_OF_SEQUENCE))
        elif level != "byte" and not isinstance(text, str):
            raise ValueError(message("vocabulary", "text", f"a string, at level {level!r}", type(text).__name__))
        elif level != "byte" and isinstance(text, str):
            counts = _counts(text) if level == "char" else Counter(words_of(text))
        return cls.from_counts(counts, level=level, max_size=max_size, min_count=min_count, unknown=unknown)

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        level: Level = "char",
        max_size: int | None = None,
        min_count: int = 1,
        unknown: bool | None = None,
    ) -> Vocabulary:
        """The same from how often each token occurs (for words ``<eos>`` among them); arguments as `build`.

        Raises:
            ValueError: no token, sizes below 1.
        """
        if level == "byte":
            return cls("byte", ())
        if max_size is not None and max_size < 2:
            raise ValueError(message("vocabulary", "max_size", "at least 2", str(max_size)))
        if min_count < 1:
            raise ValueError(message("vocabulary", "min_count", "at least 1", str(min_count)))
        if not counts:
            raise ValueError(message("vocabulary", "text", "some text", "none"))
        always = {END_OF_SEQUENCE} if level == "word" else set()
        kept = {token for token, count in counts.items() if count >= min_count} | always
        kept.discard(UNKNOWN)
        drops = len(kept) < len(counts) - (UNKNOWN in counts) or (max_size is not None and len(kept) > max_size)
        has_unknown = (drops or level == "word") if unknown is None else unknown
        if drops and not has_unknown:
            raise ValueError(message("vocabulary", "unknown", "True where tokens are dropped", "False"))
        ordered = sorted(kept, key=lambda token: (-counts.get(token, 0), token))
        if max_size is not None:
            room = max_size - has_unknown - len(always)
            ordered = [token for token in ordered if token not in always][: max(room, 0)] + sorted(always)
        if level == "char":
            ordered.sort()
        elif max_size is not None:
            ordered.sort(key=lambda token: (-counts.get(token, 0), token))
        tokens = ([UNKNOWN] if has_unknown else []) + ordered
        return cls(level, tokens, UNKNOWN if has_unknown else None)

    def __len__(self) -> int:
        return 256 if self.level == "byte" else len(self.tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    @property
    def end_id(self) -> int | None:
        """The id that ends a line: ``<eos>`` for words, the newline for characters and bytes; None: there is none."""
        if self.level == "byte":
            return 10
        return self._ids.get(END_OF_SEQUENCE if self.level == "word" else "\n")

    @property
    def unknown_id(self) -> int | None:
        """The id of the unknown token, or None."""
        return None if self.unknown is None else self._ids[self.unknown]

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        """The smallest NumPy type that holds every id."""
        return smallest_dtype(len(self))

    def encode(self, text: str | bytes, *, end_line: bool = True) -> Ids:
        """Ids of a text.

        Args:
            text: the text; `bytes` are taken as UTF-8 (at the byte level as they are).
            end_line: for words, whether an unfinished last line gets its ``<eos>``; default True.

        Returns:
            Ids (n,), of type `dtype`.

        Raises:
            ValueError: a token that the vocabulary lacks (named, with its position) where it has no unknown token.
        """
        if self.level == "byte":
            raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
            return np.frombuffer(raw, dtype=np.uint8)
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return self._encode_characters(text) if self.level == "char" else self._encode_words(text, end_line)

    def _encode_characters(self, text: str) -> Ids:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        ids = self._table[np.minimum(points, len(self._table) - 1)]
        if self.unknown is None and ids.size and int(ids.min()) == _NO_ID:
            self._refuse_character(text, int(np.argmax(ids == _NO_ID)))
        return ids.astype(self.dtype)

    def _refuse_character(self, text: str, position: int) -> None:
        character = text[position]
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        raise ValueError(
            message(
                "encode",
                "text",
                f"the {len(self)} characters that the model knows",
                f"{character!r} (U+{ord(character):04X}) at character {position} (line {line}, column {column})",
                "remove it, or train with --min-count 2 so that rare characters become <unk>, or with --level byte",
            )
        )

    def _encode_words(self, text: str, end_line: bool) -> Ids:
        words = words_of(text)
        if not end_line and text and not text.endswith("\n"):
            words.pop()
        fallback = self._ids[self.unknown] if self.unknown is not None else _NO_ID
        ids = np.fromiter(map(self._ids.get, words, repeat(fallback)), dtype=np.int64, count=len(words))
        if self.unknown is None and ids.size and int(ids.min()) == _NO_ID:
            position = int(np.argmax(ids == _NO_ID))
            raise ValueError(
                message(
                    "encode",
                    "text",
                    f"the {len(self)} words that the model knows",
                    f"{words[position]!r}, word {position}",
                    "train with an unknown token",
                )
            )
        return ids.astype(self.dtype)

    def ids_of(self, tokens: Sequence[str]) -> Ids:
        """The ids (n,) of tokens that are given one by one.

        Raises:
            ValueError: a token that the vocabulary lacks where it has no unknown token.
        """
        fallback = self.unknown_id
        ids = [self._ids.get(token, fallback) for token in tokens]
        if None in ids:
            lacking = tokens[ids.index(None)]
            raise ValueError(message("encode", "tokens", f"the {len(self)} tokens of the vocabulary", repr(lacking)))
        return np.array(ids, dtype=self.dtype)

    def pieces(self, ids: Iterable[int] | Ids) -> list[str]:
        """The token of each id; of a byte its two hexadecimal digits."""
        return [f"{int(index):02x}" if self.level == "byte" else self.tokens[int(index)] for index in ids]

    def decode(self, ids: Iterable[int] | Ids) -> str:
        """The text of ids (n,): characters and bytes joined, words with blanks, ``<eos>`` as a line end.

        Bytes that are no UTF-8 become U+FFFD.

        Raises:
            ValueError: an id outside 0..V-1.
        """
        numbers = [int(index) for index in ids]
        for index in numbers:
            if not 0 <= index < len(self):
                raise ValueError(message("decode", "ids", f"0 to {len(self) - 1}", str(index)))
        if self.level == "byte":
            return bytes(numbers).decode("utf-8", "replace")
        tokens = [self.tokens[index] for index in numbers]
        if self.level == "char":
            return "".join(tokens)
        lines = " ".join(tokens).split(END_OF_SEQUENCE)
        return "\n".join(line.strip() for line in lines)

    def describe(self) -> str:
        """Size and level in one line, for people."""
        unknown = "" if self.unknown is None else f", others are {self.unknown}"
        return f"{len(self):,} {self.level}s{unknown}"

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as JSON: level, tokens, unknown; bytes need no list."""
        if self.level == "byte":
            return {"level": "byte"}
        return {"level": self.level, "tokens": list(self.tokens), "unknown": self.unknown}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Vocabulary:
        """Rebuild what `to_json` gave; everything is checked.

        Raises:
            ValueError: something else.
        """
        level = value.get("level")
        tokens, unknown = value.get("tokens", [] if level == "byte" else None), value.get("unknown")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise ValueError(message("vocabulary", "tokens", "a list of strings", type(tokens).__name__))
        if unknown is not None and not isinstance(unknown, str):
            raise ValueError(message("vocabulary", "unknown", "a string or null", type(unknown).__name__))
        return cls(cast(Level, level), tokens, unknown)
