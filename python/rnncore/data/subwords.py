"""Subwords: a vocabulary of frequent pieces of words, learnt and applied by the `tokenizers` library."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rnncore._messages import message
from rnncore.data.vocabulary import END_OF_SEQUENCE, UNKNOWN, Ids, Vocabulary


def _library() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError:
        raise ImportError("subwords need tokenizers; install it with: pip install 'rnncore[subword]'") from None


class Subwords:
    """Byte-pair encoding (Sennrich et al. 2016) of text; the methods are those of `Vocabulary`.

    A space belongs to the piece after it, so that decoding gives the text back; punctuation stands by itself. ``<eos>``
    ends a line, characters that were not in the training text are ``<unk>``.

    Args:
        tokenizer: what `to_json` gave under "tokenizer".

    Raises:
        ImportError: `tokenizers` is missing: ``pip install 'rnncore[subword]'``.
        ValueError: no tokenizer of this class.
    """

    level = "subword"

    def __init__(self, tokenizer: Mapping[str, Any]) -> None:
        try:
            self._tokenizer = _library().Tokenizer.from_str(json.dumps(tokenizer))
        except ImportError:
            raise
        except Exception as error:  # the library raises bare Exceptions
            raise ValueError(message("subwords", "tokenizer", "one of the tokenizers library", str(error))) from None
        end, unknown = (self._tokenizer.token_to_id(token) for token in (END_OF_SEQUENCE, UNKNOWN))
        if end is None or unknown is None:
            raise ValueError(message("subwords", "tokenizer", f"one with {END_OF_SEQUENCE} and {UNKNOWN}", "neither"))
        self.end_id: int = end
        self.unknown_id: int = unknown

    @classmethod
    def build(cls, lines: Iterable[str], *, size: int = 8000, lower: bool = False, min_count: int = 2) -> Subwords:
        """Learn the pieces of a text.

        Args:
            lines: the training text.
            size: V, at most; default 8000.
            lower: read everything in lower case; default False.
            min_count: pairs that are rarer are not joined; default 2.
        """
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN))
        forms = [library.normalizers.NFC(), *([library.normalizers.Lowercase()] if lower else [])]
        tokenizer.normalizer = library.normalizers.Sequence(forms)
        tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(
            [library.pre_tokenizers.Metaspace(), library.pre_tokenizers.Punctuation("isolated")]
        )
        tokenizer.decoder = library.decoders.Metaspace()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size, min_frequency=min_count, special_tokens=[UNKNOWN, END_OF_SEQUENCE], show_progress=False
        )
        tokenizer.train_from_iterator(lines, trainer)
        return cls(json.loads(tokenizer.to_str()))

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str, *, end_line: bool = True) -> Ids:
        """Ids of one line (n,), with its ``<eos>`` unless `end_line` is False."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return np.array([*ids, self.end_id] if end_line else ids, dtype=np.int64)

    def pieces(self, ids: Iterable[int] | Ids) -> list[str]:
        """The piece of each id; a space is shown as ▁."""
        return [self._tokenizer.id_to_token(int(index)) for index in ids]

    def decode(self, ids: Iterable[int] | Ids) -> str:
        """The text of ids (n,), without ``<eos>``."""
        return str(self._tokenizer.decode([int(index) for index in ids if index != self.end_id]))

    def describe(self) -> str:
        """Size and level in one line, for people."""
        return f"{len(self):,} subwords, others are {UNKNOWN}"

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as JSON."""
        return {"level": self.level, "tokenizer": json.loads(self._tokenizer.to_str())}


TextVocabulary = Vocabulary | Subwords


def vocabulary_from_json(value: Mapping[str, Any]) -> TextVocabulary:
    """Rebuild what `to_json` of either class gave.

    Raises:
        ValueError: something else.
        ImportError: subwords, and `tokenizers` is missing.
    """
    if value.get("level") == Subwords.level:
        return Subwords(value.get("tokenizer") or {})
    return Vocabulary.from_json(value)
