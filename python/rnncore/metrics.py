"""What a language model is measured by: nats, perplexity, bits per character, accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        words: how many words and line ends they are, the first one too where a token is less than a word.
    """

    total_nats: float
    tokens: int
    characters: int
    words: int = 0

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

    @property
    def bits_per_word(self) -> float:
        """Bits a word, line ends counted as words: it compares models whatever their tokens are."""
        return bits(self.total_nats / max(self.words, 1))

    @property
    def word_perplexity(self) -> float:
        """exp(nats a word), as published for models of words."""
        return perplexity(self.total_nats / max(self.words, 1))


def evaluate(
    model: Any,
    text: str | bytes,
    *,
    batch: int = 1,
    chunk: int = 500,
    scorer: Callable[[NDArray[Any]], tuple[float, int]] | None = None,
) -> Score:
    """Score a text under a language model by the chain rule: the state is carried over the whole text.

    Args:
        model: a `models.LanguageModel` with a vocabulary.
        text: what to score; words and subwords get one ``<eos>`` a line.
        batch: 1 (default) is exact. More streams are read in parallel, each from a zero state: faster, and every
            token but the first is still predicted once, with less context at the start of each stream.
        chunk: steps read at a time; it changes memory, not the result.
        scorer: nats and number of predicted tokens of ids, e.g. by `adaptation.adapted_score`, in place of
            `model.score`.

    Raises:
        ValueError: fewer than two tokens, unknown characters, a model without vocabulary.
        FloatingPointError: the model's numbers are not finite.
    """
    vocabulary = model.require_vocabulary()
    tokens = vocabulary.encode(text)
    total, count = model.score(tokens, batch=batch, chunk=chunk) if scorer is None else scorer(tokens)
    if not math.isfinite(total):
        hint = "a parameter of the model is not finite, or too large"
        raise FloatingPointError(message("evaluate", "nats", "a finite number", str(total), hint))
    in_pieces = vocabulary.level in ("word", "subword")
    characters = len(text) - len(vocabulary.decode(tokens[:1])) if in_pieces else count
    return Score(total, count, characters, _words_in(text) - (vocabulary.level == "word"))


def _words_in(text: str | bytes) -> int:
    """How many words and line ends `words_of` gives."""
    end: Any = "\n" if isinstance(text, str) else b"\n"
    return len(text.split()) + text.count(end) + bool(text and not text.endswith(end))


def edit_distance(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The least number of insertions, deletions and replacements that make `one` into `other` (Levenshtein 1966).

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def error_rate(found: Sequence[Sequence[Any]], wanted: Sequence[Sequence[Any]]) -> float:
    """Edits per label of what was wanted, over all sequences together (word or label error rate).

    >>> error_rate(["cat", "do"], ["cut", "dog"])
    0.3333333333333333

    Raises:
        ValueError: different numbers of sequences, or no label at all.
    """
    labels = sum(len(each) for each in wanted)
    if len(found) != len(wanted) or labels == 0:
        got = f"{len(found)} and {len(wanted)}, {labels} labels"
        raise ValueError(message("error rate", "found, wanted", "as many sequences, and at least one label", got))
    return sum(edit_distance(*pair) for pair in zip(found, wanted, strict=True)) / labels


def rolling_origin(
    values: NDArray[np.float64],
    forecasts: Mapping[str, Callable[[NDArray[np.float64], int], NDArray[np.float64]]],
    *,
    context: int,
    horizon: int,
    start: int,
    stop: int,
    stride: int = 1,
    batch: int = 256,
) -> dict[str, dict[str, float]]:
    """Errors of forecasts from every `stride`-th origin: rows start..stop-1 are told, and only rows before are read.

    Args:
        values: the series (T, C).
        forecasts: by name, functions of windows (N, context, C) and the horizon that give (N, horizon, C).
        context: rows that are read, from before `start` at the first origin.
        horizon: steps to be told.
        start: the first row that is told.
        stop: the row after the last one that is told.
        stride: rows between origins; default 1.
        batch: windows at a time.

    Returns:
        For each name "mse" and "mae", means over origins, steps and columns.

    Raises:
        ValueError: too few rows.

    >>> steps = np.arange(20.0)[:, None]
    >>> last = lambda windows, horizon: windows[:, -1:].repeat(horizon, axis=1)
    >>> rolling_origin(steps, {"last": last}, context=4, horizon=2, start=10, stop=20)
    {'last': {'mse': 2.5, 'mae': 1.5}}
    """
    origins = np.arange(start, stop - horizon + 1, stride)
    if start < context or len(origins) == 0 or stop > len(values):
        got = f"{start}, {stop} of {len(values)}"
        expected = f"context {context} <= start, start + horizon {horizon} <= stop, within the series"
        raise ValueError(message("rolling origin", "start, stop", expected, got))
    sums = {name: np.zeros(2) for name in forecasts}
    windows = np.lib.stride_tricks.sliding_window_view(values, context + horizon, axis=0).transpose(0, 2, 1)
    for at in range(0, len(origins), batch):
        part = windows[origins[at : at + batch] - context]
        for name, forecast in forecasts.items():
            error = forecast(part[:, :context], horizon) - part[:, context:]
            sums[name] += [(error**2).sum(), np.abs(error).sum()]
    count = len(origins) * horizon * values.shape[1]
    return {name: {"mse": float(both[0] / count), "mae": float(both[1] / count)} for name, both in sums.items()}
