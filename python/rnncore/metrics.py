"""What a language model is measured by: nats, perplexity, bits per character, accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rnncore._messages import message


def perplexity(nats: float) -> float:
    """Exp of the mean negative log-likelihood (nats a token); infinite where that overflows.

    >>> perplexity(0.0)
    1.0
    """
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def bits(nats: float) -> float:
    """Nats in bits: divided by ln 2.

    >>> bits(math.log(2))
    1.0
    """
    return nats / math.log(2)


def accuracy(logits: ArrayLike, targets: ArrayLike, *, ignore_index: int = -100) -> float:
    """The share of targets (R,) that have the largest of their logits (R, V); ignored targets do not count.

    Raises:
        ValueError: shapes that do not fit, or no target that counts.
    """
    scores, wanted = np.asarray(logits), np.asarray(targets)
    if scores.ndim != 2 or wanted.shape != scores.shape[:1]:
        got = f"{scores.shape}, {wanted.shape}"
        raise ValueError(message("accuracy", "logits, targets", "shapes (R, V) and (R,)", got))
    counted = wanted != ignore_index
    if not counted.any():
        raise ValueError(message("accuracy", "targets", "at least one that is not ignored", "none"))
    return float((scores.argmax(axis=1)[counted] == wanted[counted]).mean())


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text.

    Attributes:
        total_nats: the negative log-likelihood of all predicted tokens together.
        tokens: how many were predicted: every token but the very first.
        characters: how many characters (bytes at the byte level) these tokens are.
    """

    total_nats: float
    tokens: int
    characters: int

    @property
    def nats(self) -> float:
        """Nats a token."""
        return self.total_nats / self.tokens

    @property
    def perplexity(self) -> float:
        """exp(nats a token)."""
        return perplexity(self.nats)

    @property
    def bits_per_character(self) -> float:
        """Bits a character (a byte at the byte level)."""
        return bits(self.total_nats / max(self.characters, 1))


def evaluate(model: Any, text: str | bytes, *, batch: int = 1, chunk: int = 500) -> Score:
    """Score a text under a language model by the chain rule: the state is carried over the whole text.

    Args:
        model: a `models.LanguageModel` with a vocabulary.
        text: what to score; words get one ``<eos>`` a line.
        batch: 1 (default) is exact. More streams are read in parallel, each from a zero state: faster, and every
            token but the first is still predicted once, with less context at the start of each stream.
        chunk: steps read at a time; it changes memory, not the result.

    Raises:
        ValueError: fewer than two tokens, unknown characters, a model without vocabulary.
    """
    vocabulary = model.require_vocabulary()
    tokens = vocabulary.encode(text)
    total, count = model.score(tokens, batch=batch, chunk=chunk)
    first = vocabulary.decode(tokens[:1]) if vocabulary.level == "word" else ""
    characters = len(text) - len(first) if vocabulary.level == "word" else count
    return Score(total, count, characters)
