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
``b * N + n`` is hypothesis b of beginning n: what is known of a beginning is worked out once and shared by all."""
Ended = Callable[[tuple[int, ...]], bool]
"""Whether a hypothesis with these tokens is at its end, as a stop token would end it: a stop string has come, say."""


@dataclass(frozen=True)
class Hypothesis:
    """What a search found, or `draw` drew.

    Attributes:
        tokens: without the stop token.
        log_prob: the sum of the tokens' log-probabilities in nats, the stop token's included.
        score: `log_prob` over the length penalty, what hypotheses are ranked by; of drawn ones `log_prob`.
        finished: whether it ended by itself; else the search ended first.
        log_probs: of each token, a stop token's last.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    finished: bool
    log_probs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How `draw` chooses a token.

    Args:
        temperature: log-probabilities are divided by it; 0 takes the likeliest token; default 1.
        top_k: choose among the k likeliest tokens; 0 (default): among all.
        top_p: choose among the likeliest tokens that together have this probability; default 1: all.
        seed: of the random numbers; default 0.
        first: the number of the first beginning, where they come one after another: a text depends on seed, number of
            its beginning and its own number among that beginning's texts; default 0.
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
    ended: Ended | None = None,
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
        ended: what else ends it; default: nothing.
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
    searches = [_Search(beams, frozenset(stop), ended, alpha, int(limit)) for limit in limits]
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
    samples: int = 1,
    numbers: Sequence[int] | None = None,
    max_length: int | Sequence[int] = 100,
    stop: Collection[int] = (),
    ended: Ended | None = None,
) -> list[list[Hypothesis]]:
    """Continuations of each of N beginnings, drawn token by token, all together; none depends on the others.

    Args:
        step: see `Step`.
        first: the token that each beginning goes on with (N,).
        sampling: how a token is chosen. The log-probabilities are the model's own: temperature 1, nothing left out.
        samples: texts of each beginning; default 1.
        numbers: of the beginnings (N,), what their random numbers depend on (plus `sampling.first`); default: 0..N-1.
        max_length: tokens, the stop token among them, at most; of all, or of each beginning (N,). Default: 100.
        stop: the tokens that end a text; default: none, all have `max_length` tokens.
        ended: what else ends it; default: nothing.

    Returns:
        For each beginning its texts, in the order of their numbers.

    Example:
        >>> table = np.log([[0.1, 0.6, 0.3], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])  # what follows tokens 0, 1, 2
        >>> [[one]] = draw(lambda tokens, rows: table[tokens], [1], Sampling(temperature=0), stop=[2], max_length=5)
        >>> one.tokens, one.finished
        ((0, 1, 0, 1, 0), False)
    """
    positive("draw", "samples", samples)
    beginnings = as_integers("draw", "first", first)
    count = len(beginnings)
    limits = np.tile(_limits(max_length, count), samples)
    if samples > _SAMPLES or (count and int(limits.max()) > _TOKENS):
        got = f"{samples}, {int(limits.max(initial=0))}"
        raise ValueError(message("draw", "samples, max_length", f"at most {_SAMPLES} and {_TOKENS}", got))
    generators = [
        _generator(sampling, int(number), sample)
        for sample in range(samples)
        for number in (range(count) if numbers is None else numbers)
    ]
    if not count:
        return []
    # One step for all samples of a beginning: they part with their first token.
    scores = np.tile(_scores(step, beginnings, np.arange(count)), (samples, 1))
    rows = np.arange(count * samples)
    come_from = rows % count
    tokens = np.zeros(len(rows), dtype=np.int64)
    written: list[list[int]] = [[] for _ in rows]
    logs: list[list[float]] = [[] for _ in rows]
    finished = [False] * len(rows)
    running = rows.tolist()
    while True:
        for n in running:
            logits = Tensor(scores[n : n + 1])
            chosen = _core.sample(logits, generators[n], sampling.temperature, sampling.top_k, sampling.top_p)
            tokens[n] = token = int(chosen.numpy()[0])
            logs[n].append(float(scores[n, token]))
            if token not in stop:
                written[n].append(token)
            finished[n] = token in stop or (ended is not None and ended(tuple(written[n])))
        running = [n for n in running if not finished[n] and len(written[n]) < limits[n]]
        if not running:
            break
        scores = _scores(step, tokens, come_from)
        come_from = rows
    made = [
        Hypothesis(tuple(text), total := sum(each), total, done, tuple(each))
        for text, each, done in zip(written, logs, finished, strict=True)
    ]
    return [made[n::count] for n in range(count)]


# Token t of sample s of beginning n is drawn with counter n * 2^32 + s * 2^20 + t.
_SAMPLES, _TOKENS = 1 << 12, 1 << 20


def _generator(sampling: Sampling, number: int, sample: int) -> Generator:
    generator = Generator(sampling.seed)
    generator.set_state((sampling.seed, ((sampling.first + number) << 32) + sample * _TOKENS))
    return generator


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
    prefix: Sequence[int] = (),
    max_length: int | Sequence[int] = 100,
    stop: Collection[int] = (),
    ended: Ended | None = None,
) -> list[list[Hypothesis]]:
    """`beam_search`, by default with the `usual` beams (but no fewer than `top`) and alpha; with a `sampling` `draw`.

    The arguments that are not named here are those of the two. `top` texts of each beginning: the best, or so many
    drawn. All of them begin with the tokens of `prefix`, which are read once for all that goes on from a beginning, and
    stand neither in the hypotheses nor in their log-probabilities.

    Raises:
        ValueError: a sampling and beams or alpha.
    """
    tokens = as_integers("beam search", "first", first)
    for token in prefix:
        _scores(step, tokens, np.arange(len(tokens)))
        tokens = np.full_like(tokens, token)
    ends: dict[str, Any] = {"max_length": max_length, "stop": stop, "ended": ended}
    if sampling is None:
        beams, alpha = max(usual[0], top) if beams is None else beams, usual[1] if alpha is None else alpha
        return beam_search(step, tokens, beams=beams, alpha=alpha, top=top, **ends)
    if beams is not None or alpha is not None:
        raise ValueError(message("beam search", "sampling", "none beside beams and alpha", "one", "draw or search"))
    return draw(step, tokens, sampling, samples=top, numbers=numbers, **ends)


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

    def __init__(self, beams: int, stop: frozenset[int], ended: Ended | None, alpha: float, limit: int) -> None:
        self._beams, self._stop, self._ended_by, self._alpha, self._limit = beams, stop, ended, alpha, limit
        self._live: list[tuple[int, ...]] = [()]
        self._logs: list[tuple[float, ...]] = [()]
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
        enough = self._beams + stops if self._ended_by is None else len(totals)
        kept: list[tuple[int, int, float]] = []
        for rank, place in enumerate(_largest(totals, enough).tolist()):
            hypothesis, token = divmod(place, vocabulary)
            total = float(totals[place])
            if not total > -np.inf or len(kept) == self._beams:
                break
            tokens, logs = self._live[hypothesis], (*self._logs[hypothesis], float(log_probs[hypothesis, token]))
            if token not in self._stop:
                tokens = (*tokens, token)
                if self._ended_by is None or not self._ended_by(tokens):
                    kept.append((hypothesis, token, total))
                    continue
            if rank < self._beams:
                self._end(tokens, logs, total, finished=True)
        self._logs = [(*self._logs[one], float(log_probs[one, token])) for one, token, _ in kept]
        self._live = [(*self._live[one], token) for one, token, _ in kept]
        self._totals = np.array([total for *_, total in kept])
        finished = len(self._ended)
        if not kept or finished >= self._beams or len(self._live[0]) >= self._limit:
            for tokens, logs, total in zip(self._live, self._logs, self._totals.tolist(), strict=True):
                if finished < self._beams:
                    self._end(tokens, logs, total, finished=False)
            self.done = True
        return np.array([hypothesis for hypothesis, *_ in kept], dtype=np.int64)

    def _end(self, tokens: tuple[int, ...], logs: tuple[float, ...], total: float, *, finished: bool) -> None:
        score = total / length_penalty(len(logs), self._alpha)
        self._ended.append(Hypothesis(tokens, total, score, finished, logs))

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
