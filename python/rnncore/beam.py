"""Beam search and sampling over any step function: translation, captions, ... They know nothing of models or text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore import Generator, Tensor, _core
from rnncore._messages import message, positive
from rnncore._tensor import as_integers

Rows = NDArray[np.int64]
Step = Callable[[Rows, Rows], NDArray[Any]]
"""``step(tokens, rows)``: row i goes on with ``tokens[i]`` from where row ``rows[i]`` of the call before stood; gives
log-probabilities (R, V) of what comes next. In the first call the rows are 0..N-1, the N beginnings; later row
``b * N + n`` is hypothesis b of beginning n."""


@dataclass(frozen=True)
class Hypothesis:
    """What a search found, or `draw` drew.

    Attributes:
        tokens: without the stop token.
        log_prob: the sum of the tokens' log-probabilities in nats, the stop token's included.
        score: `log_prob` over the length penalty, what hypotheses are ranked by; of drawn ones `log_prob`.
        finished: whether it ends in a stop token; else the search ended first.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    finished: bool


@dataclass(frozen=True)
class Sampling:
    """How `draw` chooses a token.

    Args:
        temperature: log-probabilities are divided by it; 0 takes the likeliest token; default 1.
        top_k: choose among the k likeliest tokens; 0 (default): among all.
        top_p: choose among the likeliest tokens that together have this probability; default 1: all.
        seed: of the random numbers; default 0.
        first: the number of the first text, where texts come one after another: text i depends on (seed, i); default 0.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    first: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(message("sample", "seed", "0 to 2^64 - 1", str(self.seed)))
        if not 0 <= self.first < 1 << 31:
            raise ValueError(message("sample", "first", "0 to 2^31 - 1", str(self.first)))


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
    tokens = as_integers("beam search", "first", first)
    count = len(tokens)
    limits = _limits(max_length, count)
    searches = [_Search(beams, frozenset(stop), alpha, int(limit)) for limit in limits]
    rows = np.arange(count, dtype=np.int64)
    while not all(one.done for one in searches):
        scores = _scores(step, tokens, rows)
        grid = scores.reshape(-1, count, scores.shape[1])  # hypothesis, beginning, token
        parents = [one.advance(grid[:, n]) for n, one in enumerate(searches)]
        width = max((len(one) for one in parents), default=0)
        # Beginnings that are done are stepped on beside the others, as their last hypothesis.
        from_b = np.array([np.resize(one, width) if len(one) else np.zeros(width) for one in parents], dtype=np.int64)
        next_tokens = [[*one.last(), *[0] * width][:width] for one in searches]
        rows = (from_b * count + np.arange(count)[:, None]).T.reshape(-1)
        tokens = np.array(next_tokens, dtype=np.int64).T.reshape(-1)
    return [one.results(top) for one in searches]


def draw(
    step: Step,
    first: Sequence[int] | Rows,
    sampling: Sampling,
    *,
    numbers: Sequence[int] | None = None,
    max_length: int | Sequence[int] = 100,
    stop: Collection[int] = (),
) -> list[Hypothesis]:
    """One continuation of each of N beginnings, drawn token by token.

    Args:
        step: see `Step`.
        first: the token that each beginning goes on with (N,).
        sampling: how a token is chosen. The log-probabilities are the model's own: temperature 1, nothing left out.
        numbers: of the texts (N,), what their random numbers depend on; default: 0..N-1. `sampling.first` is added.
        max_length: tokens, the stop token among them, at most; of all, or of each beginning (N,). Default: 100.
        stop: the tokens that end a text; default: none, all have `max_length` tokens.

    Example:
        >>> table = np.log([[0.1, 0.6, 0.3], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])  # what follows tokens 0, 1, 2
        >>> [one] = draw(lambda tokens, rows: table[tokens], [1], Sampling(temperature=0), stop=[2], max_length=5)
        >>> one.tokens, one.finished
        ((0, 1, 0, 1, 0), False)
    """
    tokens = as_integers("draw", "first", first).copy()
    rows = np.arange(len(tokens))
    limits = _limits(max_length, len(tokens))
    generators = [Generator(sampling.seed) for _ in rows]
    for number, generator in zip(range(len(tokens)) if numbers is None else numbers, generators, strict=True):
        generator.set_state((sampling.seed, (sampling.first + number) << 32))  # token t: call t after it
    written: list[list[int]] = [[] for _ in rows]
    totals, ended = [0.0] * len(rows), [False] * len(rows)
    running = rows.tolist()
    while running:
        scores = _scores(step, tokens, rows)
        for n in running:
            logits = Tensor(scores[n : n + 1])
            chosen = _core.sample(logits, generators[n], sampling.temperature, sampling.top_k, sampling.top_p)
            tokens[n] = token = int(chosen.numpy()[0])
            totals[n] += float(scores[n, token])
            ended[n] = token in stop
            if not ended[n]:
                written[n].append(token)
        running = [n for n in running if not ended[n] and len(written[n]) < limits[n]]
    return [Hypothesis(tuple(written[n]), totals[n], totals[n], ended[n]) for n in rows]


def find(
    step: Step,
    first: Sequence[int] | Rows,
    *,
    usual: tuple[int, float],
    beams: int | None = None,
    alpha: float | None = None,
    top: int = 1,
    sampling: Sampling | None = None,
    numbers: Sequence[int] | None = None,
    max_length: int | Sequence[int] = 100,
    stop: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """`beam_search` with the `usual` beams and alpha where there are no others; with a `sampling` `draw`.

    Raises:
        ValueError: a sampling and beams, alpha or top.
    """
    if sampling is None:
        beams, alpha = usual[0] if beams is None else beams, usual[1] if alpha is None else alpha
        return beam_search(step, first, beams=beams, alpha=alpha, top=top, max_length=max_length, stop=stop)
    if beams is not None or alpha is not None or top != 1:
        raise ValueError(
            message("beam search", "sampling", "none beside beams, alpha and top", "one", "draw or search")
        )
    return [[one] for one in draw(step, first, sampling, numbers=numbers, max_length=max_length, stop=stop)]


def _limits(max_length: int | Sequence[int], count: int) -> Rows:
    limits = np.broadcast_to(np.asarray(max_length, dtype=np.int64), (count,))
    if count and int(limits.min()) < 1:
        raise ValueError(message("beam search", "max_length", "at least 1", str(int(limits.min()))))
    return limits


def _scores(step: Step, tokens: Rows, rows: Rows) -> NDArray[Any]:
    """What a step says, checked."""
    scores = np.asarray(step(tokens, rows))
    if scores.ndim != 2 or len(scores) != len(tokens):
        expected = f"shape ({len(tokens)}, V)"
        raise ValueError(message("beam search", "log-probabilities", expected, str(scores.shape)))
    if np.isnan(scores).any():
        raise ArithmeticError(message("beam search", "log-probabilities", "numbers or -infinity", "NaN"))
    return scores


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
