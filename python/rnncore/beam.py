"""Beam search over any step function: language models, translation, captions. It knows nothing of models or text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message, positive

Rows = NDArray[np.int64]
Step = Callable[[Rows, Rows], NDArray[Any]]
"""``step(tokens, rows)``: row i goes on with ``tokens[i]`` from where row ``rows[i]`` of the call before stood; gives
log-probabilities (R, V) of what comes next. In the first call the rows are 0..N-1, the N beginnings; later row
``b * N + n`` is hypothesis b of beginning n."""


@dataclass(frozen=True)
class Hypothesis:
    """What a search found.

    Attributes:
        tokens: without the stop token.
        log_prob: the sum of the tokens' log-probabilities in nats, the stop token's included.
        score: `log_prob` over the length penalty, what hypotheses are ranked by.
        finished: whether it ends in a stop token; else the search ended first.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    finished: bool


def length_penalty(length: int, alpha: float) -> float:
    """((5 + length) / 6)^alpha (Wu et al. 2016, equation 14); `length` counts the stop token. alpha 0: 1.

    >>> length_penalty(7, 1.0)
    2.0
    """
    return float(((5.0 + length) / 6.0) ** alpha)


def beam_search(
    step: Step,
    first: Sequence[int] | Rows,
    *,
    beams: int = 5,
    max_length: int | Sequence[int] = 100,
    stop: Collection[int] = (),
    alpha: float = 0.0,
    top: int = 1,
) -> list[list[Hypothesis]]:
    """The likeliest continuations of N beginnings, searched together; none depends on the others.

    Each step keeps, for each beginning, the `beams` likeliest hypotheses that have not stopped. One that stops among
    the `beams` likeliest candidates is kept aside; after `beams` of those the search of its beginning ends. One beam
    without a penalty is greedy search; beams enough for all hypotheses make the search exact. Equals: the smaller token
    of the better hypothesis.

    Args:
        step: see `Step`.
        first: the token that each beginning goes on with (N,).
        beams: default 5.
        max_length: tokens, the stop token among them, at most; of all, or of each beginning (N,). Default: 100.
        stop: the tokens that end a hypothesis; default: none, all have `max_length` tokens.
        alpha: of `length_penalty`; default 0: short hypotheses have an advantage.
        top: hypotheses to return; default 1.

    Returns:
        For each beginning at most `top` hypotheses, the best first; finished ones before others.

    Example:
        >>> table = np.log([[0.1, 0.6, 0.3], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])  # what follows tokens 0, 1, 2
        >>> [[best]] = beam_search(lambda tokens, rows: table[tokens], [1], beams=2, stop=[2])
        >>> best.tokens, best.finished
        ((0,), True)
    """
    positive("beam search", "beams", beams)
    positive("beam search", "top", top)
    tokens = np.asarray(first, dtype=np.int64)
    count = len(tokens)
    limits = np.broadcast_to(np.asarray(max_length, dtype=np.int64), (count,))
    if count and int(limits.min()) < 1:
        raise ValueError(message("beam search", "max_length", "at least 1", str(int(limits.min()))))
    searches = [_Search(beams, frozenset(stop), alpha, int(limit)) for limit in limits]
    rows = np.arange(count, dtype=np.int64)
    while not all(one.done for one in searches):
        scores = np.asarray(step(tokens, rows))
        if scores.ndim != 2 or len(scores) != len(tokens):
            expected = f"shape ({len(tokens)}, V)"
            raise ValueError(message("beam search", "log-probabilities", expected, str(scores.shape)))
        if np.isnan(scores).any():
            raise ArithmeticError(message("beam search", "log-probabilities", "numbers or -infinity", "NaN"))
        grid = scores.reshape(-1, count, scores.shape[1])  # hypothesis, beginning, token
        parents = [one.advance(grid[:, n]) for n, one in enumerate(searches)]
        width = max((len(one) for one in parents), default=0)
        # Beginnings that are done are stepped on beside the others, as their last hypothesis.
        from_b = np.array([np.resize(one, width) if len(one) else np.zeros(width) for one in parents], dtype=np.int64)
        next_tokens = [[*one.last(), *[0] * width][:width] for one in searches]
        rows = (from_b * count + np.arange(count)[:, None]).T.reshape(-1)
        tokens = np.array(next_tokens, dtype=np.int64).T.reshape(-1)
    return [one.results(top) for one in searches]


class _Search:
    """The hypotheses of one beginning."""

    def __init__(self, beams: int, stop: frozenset[int], alpha: float, limit: int) -> None:
        self._beams, self._stop, self._alpha, self._limit = beams, stop, alpha, limit
        self._live: list[tuple[int, ...]] = [()]
        self._totals = np.zeros(1)  # float64: of each live hypothesis
        self._ended: list[Hypothesis] = []
        self.done = False

    def last(self) -> list[int]:
        """The last token of each live hypothesis."""
        return [one[-1] for one in self._live]

    def advance(self, log_probs: NDArray[Any]) -> Rows:
        """One token more, from log-probabilities (hypotheses or more, V): from which hypothesis each live one comes."""
        if self.done:
            return np.zeros(1, dtype=np.int64)
        live = len(self._live)
        vocabulary = log_probs.shape[1]
        totals = (self._totals[:, None] + log_probs[:live]).reshape(-1)
        stops = live * sum(0 <= token < vocabulary for token in self._stop)
        kept: list[tuple[int, int, float]] = []
        for rank, place in enumerate(_largest(totals, self._beams + stops).tolist()):
            hypothesis, token = divmod(place, vocabulary)
            total = float(totals[place])
            if not total > -np.inf or len(kept) == self._beams:
                break
            if token not in self._stop:
                kept.append((hypothesis, token, total))
            elif rank < self._beams:
                self._end(self._live[hypothesis], total, finished=True)
        self._live = [(*self._live[hypothesis], token) for hypothesis, token, _ in kept]
        self._totals = np.array([total for *_, total in kept])
        finished = len(self._ended)
        if not kept or finished >= self._beams or len(self._live[0]) >= self._limit:
            for tokens, total in zip(self._live, self._totals.tolist(), strict=True):
                if finished < self._beams:
                    self._end(tokens, total, finished=False)
            self.done = True
        return np.array([hypothesis for hypothesis, *_ in kept], dtype=np.int64)

    def _end(self, tokens: tuple[int, ...], total: float, *, finished: bool) -> None:
        score = total / length_penalty(len(tokens) + finished, self._alpha)
        self._ended.append(Hypothesis(tokens, total, score, finished))

    def results(self, top: int) -> list[Hypothesis]:
        """The best."""
        return sorted(self._ended, key=lambda one: (not one.finished, -one.score))[:top]


def _largest(values: NDArray[Any], count: int) -> Rows:
    """Where the `count` largest stand, best first, equals in the order of their places."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    least = np.partition(values, len(values) - count)[len(values) - count]
    found = np.flatnonzero(values >= least)
    return found[np.argsort(-values[found], kind="stable")][:count]
