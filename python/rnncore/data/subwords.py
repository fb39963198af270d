"""Subwords: a vocabulary of frequent pieces of words, learnt and applied by the `tokenizers` library."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from rnncore._messages import message
from rnncore.data.text import PathLike, read_text
from rnncore.data.vocabulary import END_OF_SEQUENCE, UNKNOWN, Ids, Vocabulary, smallest_dtype

TokenLevel = Literal["char", "byte", "word", "subword"]
DEFAULT_SIZE = 8000
_BYTES = 256
_LONGEST = 1 << 16  # characters of a line that the library gets in one piece
_AT_ONCE = 1 << 20  # characters that it gets in one call: it holds about 100 bytes a token while it works
_CONTEXT = 8  # ids before a text that decide how its first piece is written


def _library() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError:
        raise ImportError("subwords need tokenizers; install it with: pip install 'rnncore[subword]'") from None


class Subwords:
    """Pieces of words, by any tokenizer of the `tokenizers` library; the methods are those of `Vocabulary`.

    `build` learns byte-pair encodings (Sennrich et al. 2016). A space belongs to the piece after it. ``<eos>`` ends a
    line; a tokenizer that has no such token gets one more id for it, and a carriage return before it is dropped.

    Args:
        tokenizer: what `to_json` gave under "tokenizer", the content of a ``tokenizer.json``.

    Raises:
        ImportError: `tokenizers` is missing: ``pip install 'rnncore[subword]'``.
        ValueError: no tokenizer of this library.
    """

    level: Literal["subword"] = "subword"

    def __init__(self, tokenizer: Mapping[str, Any]) -> None:
        try:
            self._tokenizer = _library().Tokenizer.from_str(json.dumps(tokenizer))
        except ImportError:
            raise
        except Exception as error:  # the library raises bare Exceptions
            raise ValueError(message("subwords", "tokenizer", "one of the tokenizers library", str(error))) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        ids = self._tokenizer.get_vocab().values()
        self._own = max(ids, default=-1) + 1  # ids of the library
        end = self._tokenizer.token_to_id(END_OF_SEQUENCE)
        self.end_id: int = self._own if end is None else end
        model = tokenizer["model"]
        unknown = self._tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else model.get("unk_id")
        self.unknown_id: int | None = unknown
        self._in_bytes = (tokenizer.get("decoder") or {}).get("type") == "ByteLevel"

    @classmethod
    def build(
        cls,
        lines: Iterable[str],
        *,
        size: int = DEFAULT_SIZE,
        lower: bool = False,
        min_count: int = 2,
        byte_level: bool = False,
    ) -> Subwords:
        """Learn the pieces of a text.

        Args:
            lines: the training text, without line ends.
            size: V, at most; default 8000.
            lower: read everything in lower case; default False.
            min_count: pairs that are rarer are not joined; default 2.
            byte_level: pieces are made of bytes (Radford et al. 2019): every text can be written and comes back as it
                was, nothing is unknown. Default False: of characters, punctuation by itself, in Unicode's normal form
                C; characters that were not in the training text are ``<unk>``.

        Raises:
            ValueError: byte_level, and a size below 257.
        """
        library = _library()
        options: dict[str, Any] = {"min_frequency": min_count, "show_progress": False}
        forms = [library.normalizers.Lowercase()] if lower else []
        if byte_level:
            if size <= _BYTES:
                raise ValueError(message("subwords", "size", "257 or more: the bytes and a line end", str(size)))
            tokenizer = library.Tokenizer(library.models.BPE())
            tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = library.decoders.ByteLevel()
            options.update(vocab_size=size - 1, initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet())
        else:
            tokenizer = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN))
            forms = [library.normalizers.NFC(), *forms]
            tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(
                [library.pre_tokenizers.Metaspace(), library.pre_tokenizers.Punctuation("isolated")]
            )
            tokenizer.decoder = library.decoders.Metaspace()
            options.update(vocab_size=size, special_tokens=[UNKNOWN, END_OF_SEQUENCE])
        if forms:
            tokenizer.normalizer = library.normalizers.Sequence(forms)
        parts = (part for line in lines for part in _parts(line.removesuffix("\r")))
        tokenizer.train_from_iterator(parts, library.trainers.BpeTrainer(**options))
        return cls(json.loads(tokenizer.to_str()))

    @classmethod
    def from_file(cls, path: PathLike) -> Subwords:
        """The tokenizer of a ``tokenizer.json``.

        Raises:
            OSError: it cannot be read.
            ValueError: it holds something else.
            ImportError: `tokenizers` is missing.
        """
        text = read_text(path)
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("model"), dict):
            raise ValueError(message("subwords", str(path), "a tokenizer.json of the tokenizers library", "none"))
        return cls(value)

    def __len__(self) -> int:
        return max(self._own, self.end_id + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subwords) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        """The smallest NumPy type that holds every id."""
        return smallest_dtype(len(self))

    def encode(self, text: str | bytes, *, end_line: bool = True) -> Ids:
        """Ids (n,) of a text, of type `dtype`; `bytes` are UTF-8.

        Lines of more than 65,536 characters are read in parts that are cut before a blank, where there is one.

        Args:
            text: the text.
            end_line: whether an unfinished last line gets its ``<eos>``; default True.
        """
        lines = (text.decode("utf-8") if isinstance(text, bytes) else text).split("\n")
        unfinished = lines.pop()
        found = [np.empty(0, self.dtype)]
        waiting: list[tuple[str, bool]] = []  # a part, and whether a line ends with it
        size = 0
        for line, ends in [*((line, True) for line in lines), *([(unfinished, end_line)] if unfinished else [])]:
            for part, is_last in _marked(_parts(line.removesuffix("\r"))):
                waiting.append((part, is_last and ends))
                size += len(part) + 1
                if size >= _AT_ONCE:
                    found.append(self._encode_parts(waiting))
                    waiting, size = [], 0
        found.append(self._encode_parts(waiting))
        return np.concatenate(found)

    def _encode_parts(self, parts: Sequence[tuple[str, bool]]) -> Ids:
        encode = getattr(self._tokenizer, "encode_batch_fast", self._tokenizer.encode_batch)
        ids: list[int] = []
        for found, (_, ends) in zip(encode([part for part, _ in parts], add_special_tokens=False), parts, strict=True):
            ids += found.ids
            if ends:
                ids.append(self.end_id)
        return np.array(ids, dtype=self.dtype)

    def ids_of(self, tokens: Sequence[str]) -> Ids:
        """The ids (n,) of tokens that are given one by one: as the tokenizer has them, or as the text that they are.

        Raises:
            ValueError: a token that is none, or more than one.
        """
        return np.array([self._id_of(token) for token in tokens], dtype=self.dtype)

    def _id_of(self, token: str) -> int:
        if token in (END_OF_SEQUENCE, "\n"):
            return self.end_id
        known = self._tokenizer.token_to_id(token)
        ids = self.encode(token, end_line=False).tolist() if known is None else [known]
        if len(ids) != 1 or (known is None and ids[0] == self.unknown_id):
            raise ValueError(message("encode", "tokens", f"one of the {len(self)} pieces", repr(token)))
        return int(ids[0])

    def pieces(self, ids: Iterable[int] | Ids) -> list[str]:
        """The piece of each id; a space is shown as ▁. Bytes that are no whole character: as the tokenizer has them."""
        return [self._piece(int(index)) for index in ids]

    def _piece(self, index: int) -> str:
        if index == self.end_id:
            return END_OF_SEQUENCE
        piece = str(self._tokenizer.id_to_token(index))
        if not self._in_bytes:
            return piece
        text = str(self._tokenizer.decode([index]))
        return piece if "\ufffd" in text else text.replace(" ", "▁")

    def texts(self, ids: Iterable[int] | Ids) -> list[str]:
        """The same as text: a space is one, ``<eos>`` a line end."""
        return ["\n" if piece == END_OF_SEQUENCE else piece.replace("▁", " ") for piece in self.pieces(ids)]

    def decode(self, ids: Iterable[int] | Ids) -> str:
        """The text of ids (n,), ``<eos>`` as a line end.

        Raises:
            ValueError: an id outside 0..V-1.
        """
        numbers = np.asarray(list(ids), dtype=np.int64)
        bad = numbers[(numbers < 0) | (numbers >= len(self))]
        if len(bad):
            raise ValueError(message("decode", "ids", f"0 to {len(self) - 1}", str(bad[0])))
        lines = np.split(numbers, np.flatnonzero(numbers == self.end_id))
        shown = [line[1:] if len(line) and line[0] == self.end_id else line for line in lines]
        return "\n".join(str(self._tokenizer.decode(line.tolist())) for line in shown)

    def decode_after(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """The text of ids (n,) that follow others: whether it begins with a blank may depend on them."""
        context = [int(index) for index in before[-_CONTEXT:]]
        return self.decode([*context, *ids])[len(self.decode(context)) :]

    def describe(self) -> str:
        """Size and level in one line, for people."""
        unknown = "" if self.unknown_id is None else f", others are {self._tokenizer.id_to_token(self.unknown_id)}"
        return f"{len(self):,} subwords{unknown}"

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as JSON."""
        return {"level": self.level, "tokenizer": json.loads(self._tokenizer.to_str())}


def _parts(line: str) -> Iterator[str]:
    """A line as it is, a very long one in parts; at least one.

    A blank after something else begins a word, so that pieces stay what they are if the line is cut there.
    """
    start = 0
    while len(line) - start > _LONGEST:
        limit = start + _LONGEST
        cut = line.rfind(" ", start + 1, limit)
        while cut > 0 and line[cut - 1].isspace():
            cut = line.rfind(" ", start + 1, cut)
        cut = limit if cut < 0 else cut
        yield line[start:cut]
        start = cut
    yield line[start:]


def _marked(parts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Each part, and whether it is the last."""
    before: str | None = None
    for part in parts:
        if before is not None:
            yield before, False
        before = part
    if before is not None:
        yield before, True


TextVocabulary = Vocabulary | Subwords


def decode_after(vocabulary: TextVocabulary, before: Sequence[int], ids: Sequence[int]) -> str:
    """The text of ids (n,) that follow others; of characters, bytes and words it does not depend on them."""
    return vocabulary.decode_after(before, ids) if isinstance(vocabulary, Subwords) else vocabulary.decode(ids)


def vocabulary_from_json(value: Mapping[str, Any]) -> TextVocabulary:
    """Rebuild what `to_json` of either class gave.

    Raises:
        ValueError: something else.
        ImportError: subwords, and `tokenizers` is missing.
    """
    if value.get("level") == Subwords.level:
        tokenizer = value.get("tokenizer")
        if not isinstance(tokenizer, dict) or not isinstance(tokenizer.get("model"), dict):
            raise ValueError(message("subwords", "tokenizer", "an object with a model", type(tokenizer).__name__))
        return Subwords(tokenizer)
    return Vocabulary.from_json(value)
