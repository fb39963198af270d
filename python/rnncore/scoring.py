"""Log-probabilities of lines: each line by itself, lines of about the same length read together, in the order given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rnncore import Tensor
from rnncore._messages import message, positive
from rnncore.data.batches import IGNORE, Ids
from rnncore.data.text import decode_utf8
from rnncore.metrics import bits
from rnncore.models.language_model import LanguageModel, State

_AHEAD = 32  # batches of lines that are read before the first is scored,
_MOST = 1 << 22  # or so many tokens
_CHUNK = 500  # steps read at a time


@dataclass(frozen=True)
class LineScore:
    """What a model says about one line.

    Attributes:
        ids: the line's tokens, the line end among them.
        log_probs: log P(token | line before it), nats, one for each id. The first is conditioned on a line end.
        characters: of the line, its end among them (bytes at the byte level).
    """

    ids: Ids
    log_probs: NDArray[np.float64]
    characters: int

    @property
    def total(self) -> float:
        """Log P(line) in nats."""
        return float(self.log_probs.sum())

    @property
    def perplexity(self) -> float:
        """Of a token."""
        return math.exp(min(-self.total / len(self.ids), 700.0))

    @property
    def bits_per_character(self) -> float:
        """It compares models whatever their tokens are."""
        return bits(-self.total / self.characters)


@dataclass(frozen=True)
class Candidate:
    """A line of an n-best list: ``group ||| text`` and, where there is one, ``||| score`` at its end."""

    group: str
    text: str
    score: float


def score_lines(model: LanguageModel, lines: Iterable[str], *, batch: int = 32) -> Iterator[LineScore]:
    """Score lines (without their line ends), each from a zero state after a line end.

    Lines are read ahead and those of about the same length scored together; a line's score does not depend on the
    others. Memory is bounded by `batch` lines and their lengths, or by the longest line.

    Args:
        model: with a vocabulary that has a line end.
        lines: texts without line end.
        batch: lines scored together; default 32. With 1 no line is read ahead: each is answered as it comes.

    Raises:
        ValueError: no line end in the vocabulary, unknown characters (the line is named), sizes below 1.
        FloatingPointError: the model's numbers are not finite.
    """
    positive("score", "batch", batch)
    vocabulary = model.require_vocabulary()
    end = vocabulary.end_id
    if end is None:
        hint = "every line begins after one; use rnncore eval for a whole text"
        raise ValueError(message("score", "vocabulary", "a line end", "none", hint))
    ahead = _AHEAD * batch if batch > 1 else 1
    waiting: list[tuple[Ids, int]] = []  # ids and characters
    tokens = 0
    for number, line in enumerate(lines, start=1):
        try:
            ids = vocabulary.encode(line, end_line=False)
        except ValueError as error:
            raise ValueError(f"[score] line {number}: {str(error).removeprefix('[encode] ')}") from None
        characters = len(ids) if vocabulary.level == "byte" else len(line)
        waiting.append((np.append(ids, np.array(end, ids.dtype)), characters + 1))
        tokens += len(ids)
        if len(waiting) == ahead or tokens >= _MOST:
            yield from _score_all(model, waiting, end, batch)
            waiting, tokens = [], 0
    yield from _score_all(model, waiting, end, batch)


def _score_all(model: LanguageModel, lines: list[tuple[Ids, int]], end: int, batch: int) -> Iterator[LineScore]:
    scores: list[NDArray[np.float64]] = [np.empty(0)] * len(lines)
    order = sorted(range(len(lines)), key=lambda index: -len(lines[index][0]))
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        together = _score_together(model, [lines[index][0] for index in chosen], end)
        for index, found in zip(chosen, together, strict=True):
            scores[index] = found
    return (LineScore(ids, found, size) for (ids, size), found in zip(lines, scores, strict=True))


def _score_together(model: LanguageModel, lines: list[Ids], end: int) -> list[NDArray[np.float64]]:
    """The lines' log-probabilities; longer lines come first, and those that have ended are not read on."""
    found = [np.empty(len(line)) for line in lines]
    state: State | None = None
    with model.evaluating():
        for start in range(0, len(lines[0]), _CHUNK):
            running = [line[start : start + _CHUNK] for line in lines if len(line) > start]
            steps, count = len(running[0]), len(running)
            inputs = np.full((steps, count), end, dtype=np.int64)
            targets = np.full_like(inputs, IGNORE)
            for column, part in enumerate(running):
                targets[: len(part), column] = part
                inputs[1 : len(part), column] = part[:-1]
                inputs[0, column] = lines[column][start - 1] if start else end
            if state is not None and state[0].shape[1] > count:
                state = tuple(Tensor(np.ascontiguousarray(part.numpy()[:, :count])) for part in state)
            losses, state = model.loss(inputs, targets, state, reduction="none")
            values = -losses.numpy().reshape(steps, count)
            if not np.isfinite(values).all():
                hint = "a parameter of the model is not finite, or too large"
                raise FloatingPointError(message("score", "log-probabilities", "finite numbers", "NaN or Inf", hint))
            for column, part in enumerate(running):
                found[column][start : start + len(part)] = values[: len(part), column]
    return found


def read_lines(stream: BinaryIO, name: str, *, keep_returns: bool = False) -> Iterator[str]:
    """The lines of a UTF-8 stream one by one, without line ends (also Windows') and byte-order mark.

    Args:
        stream: opened for bytes; only one line is held.
        name: for errors.
        keep_returns: leave a carriage return at a line's end, for models whose characters have it.

    Raises:
        ValueError: invalid UTF-8; the line and the byte are named.
    """
    for number, data in enumerate(stream, start=1):
        text = decode_utf8(data.removesuffix(b"\n"), f"{name}, line {number}")
        if number > 1 and data.startswith(b"\xef\xbb\xbf"):
            text = "\ufeff" + text  # a mark is one at the start of a file alone
        yield text if keep_returns else text.removesuffix("\r")


def parse_candidate(line: str, number: int) -> Candidate:
    """A line of an n-best list.

    >>> parse_candidate("3 ||| a cat ||| lm=1 ||| -2.5", 1)
    Candidate(group='3', text='a cat', score=-2.5)

    Raises:
        ValueError: no such line; its number is named.
    """
    fields = [field.strip() for field in line.split("|||")]
    try:
        score = float(fields[-1]) if len(fields) > 2 else 0.0
    except ValueError:
        score = math.nan
    if len(fields) < 2 or not math.isfinite(score):
        expected = "group ||| text, or group ||| text ||| ... ||| score"
        raise ValueError(message("n-best list", f"line {number}", expected, repr(line[:60])))
    return Candidate(fields[0], fields[1], score)


def rescore(
    model: LanguageModel, candidates: Iterable[Candidate], *, weight: float = 1.0, batch: int = 32
) -> Iterator[list[tuple[Candidate, LineScore, float]]]:
    """Each group of candidates (consecutive ones of one name) with score + weight * log P(text), the best first."""

    def scored() -> Iterator[tuple[Candidate, LineScore, float]]:
        waiting: list[Candidate] = []

        def texts() -> Iterator[str]:
            for candidate in candidates:
                waiting.append(candidate)
                yield candidate.text

        for line in score_lines(model, texts(), batch=batch):
            candidate = waiting.pop(0)
            yield candidate, line, candidate.score + weight * line.total

    for _, group in groupby(scored(), key=lambda found: found[0].group):
        yield sorted(group, key=lambda found: -found[2])
