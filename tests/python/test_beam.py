"""Beam search against all hypotheses, greedy search, and each beginning alone; drawing against the probabilities."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from rnncore.beam import Hypothesis, Rows, Sampling, beam_search, draw, find, length_penalty

V, STOP, LENGTH = 4, 3, 4


class Chain:
    """A tiny model whose next token depends on the whole past: a state per row, as a recurrent network has."""

    def __init__(self, count: int, seed: int = 0, vocabulary: int = V) -> None:
        draw = np.random.default_rng(seed)
        self.weights = draw.standard_normal((3, 3)), draw.standard_normal((vocabulary, 3)) * 2
        self.head = draw.standard_normal((3, vocabulary)) * 1.5
        self.start = draw.standard_normal((count, 3))
        self.state = self.start

    def step(self, tokens: Rows, rows: Rows) -> Any:
        self.state = np.tanh(self.state[rows] @ self.weights[0] + self.weights[1][tokens])
        logits = self.state @ self.head
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    def log_prob(self, beginning: int, first: int, tokens: tuple[int, ...]) -> float:
        self.state, total, last = self.start[beginning : beginning + 1], 0.0, first
        for token in tokens:
            total += self.step(np.array([last]), np.array([0]))[0, token]
            last = token
        return total


def every(chain: Chain, beginning: int, first: int, alpha: float) -> list[Hypothesis]:
    """All hypotheses that stop within LENGTH tokens, best first."""
    found = []
    for length in range(LENGTH):
        for tokens in product(range(STOP), repeat=length):
            total = chain.log_prob(beginning, first, (*tokens, STOP))
            found.append(Hypothesis(tokens, total, total / length_penalty(length + 1, alpha), True))
    return sorted(found, key=lambda one: -one.score)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.5])
def test_a_beam_for_everything_finds_the_best(alpha: float) -> None:
    chain = Chain(3)
    first = [0, 1, 2]
    found = beam_search(chain.step, first, beams=V**LENGTH, max_length=LENGTH, stop=[STOP], alpha=alpha, top=5)
    for n, (best, token) in enumerate(zip(found, first, strict=True)):
        wanted = every(chain, n, token, alpha)[:5]
        assert [one.tokens for one in best] == [one.tokens for one in wanted]
        for one, want in zip(best, wanted, strict=True):
            assert one.finished
            assert one.log_prob == pytest.approx(want.log_prob, abs=1e-12)
            assert one.score == pytest.approx(want.score, abs=1e-12)


def test_the_penalty_decides_between_short_and_long() -> None:
    lengths = [
        len(
            beam_search(Chain(1, seed=5).step, [0], beams=256, max_length=LENGTH, stop=[STOP], alpha=alpha)[0][0].tokens
        )
        for alpha in (0.0, 5.0)
    ]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("seed", range(5))
def test_one_beam_is_greedy(seed: int) -> None:
    chain = Chain(2, seed)
    found = beam_search(chain.step, [0, 1], beams=1, max_length=30, stop=[STOP])
    for n, [best] in enumerate(found):
        chain.state, token, tokens, total = chain.start[n : n + 1], n, [], 0.0
        while len(tokens) < 30:
            scores = chain.step(np.array([token]), np.array([0]))[0]
            token = int(scores.argmax())
            total += scores[token]
            if token == STOP:
                break
            tokens.append(token)
        assert best.tokens == tuple(tokens)
        assert best.finished == (token == STOP)
        assert best.log_prob == pytest.approx(total, abs=1e-12)


def test_no_beginning_depends_on_the_others() -> None:
    first, limits = [0, 1, 2, 0, 1], [3, 9, 5, 2, 7]
    chain = Chain(5, seed=2, vocabulary=7)
    options = {"beams": 3, "stop": [5, 6], "alpha": 0.6, "top": 3}
    together = beam_search(chain.step, first, max_length=limits, **options)  # type: ignore[arg-type]
    assert len({len(best[0].tokens) for best in together}) > 1, "beginnings end at different times"
    for n in range(5):
        chain.state = chain.start[n : n + 1]
        [alone] = beam_search(chain.step, first[n : n + 1], max_length=limits[n], **options)  # type: ignore[arg-type]
        assert [one.tokens for one in alone] == [one.tokens for one in together[n]]
        assert [one.score for one in alone] == pytest.approx([one.score for one in together[n]], abs=1e-12)


def test_without_stop_tokens_all_are_as_long_as_asked() -> None:
    [found] = beam_search(Chain(1).step, [0], beams=3, max_length=6, top=3)
    assert [len(one.tokens) for one in found] == [6, 6, 6]
    assert not any(one.finished for one in found)
    assert found[0].log_prob >= found[1].log_prob >= found[2].log_prob


def test_wider_beams_than_tokens_and_forbidden_tokens() -> None:
    def step(tokens: Rows, rows: Rows) -> Any:
        return np.tile([-np.inf, np.log(0.5), np.log(0.5)], (len(tokens), 1))

    [found] = beam_search(step, [1], beams=10, max_length=3, stop=[2], top=10)
    assert [one.tokens for one in found] == [(), (1,), (1, 1), (1, 1, 1)]
    assert [one.finished for one in found] == [True, True, True, False]
    assert all(0 not in one.tokens for one in found)


def test_equals_are_taken_in_order() -> None:
    [found] = beam_search(lambda tokens, rows: np.zeros((len(tokens), 5)), [0], beams=2, max_length=2, top=2)
    assert [one.tokens for one in found] == [(0, 0), (0, 1)]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\[beam search\] beams: expected at least 1, got 0"):
        beam_search(Chain(1).step, [0], beams=0)
    with pytest.raises(ValueError, match="max_length"):
        beam_search(Chain(1).step, [0], max_length=0)
    with pytest.raises(ValueError, match=r"log-probabilities: expected shape \(1, V\), got \(3, 2\)"):
        beam_search(lambda tokens, rows: np.zeros((3, 2)), [0])
    with pytest.raises(ArithmeticError, match="got NaN"):
        beam_search(lambda tokens, rows: np.full((1, 2), np.nan), [0])
    assert beam_search(Chain(1).step, []) == []


def test_texts_are_drawn_with_their_probabilities() -> None:
    count = 4000
    chain = Chain(1)
    chain.start = chain.state = np.repeat(chain.start, count, axis=0)
    found = draw(chain.step, [0] * count, Sampling(seed=5), max_length=LENGTH, stop=[STOP])
    seen: dict[tuple[tuple[int, ...], bool], list[Hypothesis]] = {}
    for [one] in found:
        seen.setdefault((one.tokens, one.finished), []).append(one)
    assert len(seen) > 20
    for (tokens, finished), same in seen.items():
        assert finished or len(tokens) == LENGTH
        total = chain.log_prob(0, 0, (*tokens, STOP) if finished else tokens)
        assert all(one.log_prob == one.score == pytest.approx(total, abs=1e-12) for one in same)
        share, spread = np.exp(total), np.sqrt(np.exp(total) * (1 - np.exp(total)) / count)
        assert abs(len(same) / count - share) < 5 * spread + 1 / count, tokens


def test_a_drawn_text_depends_on_seed_and_number_alone() -> None:
    first, limits = [0, 1, 2, 0, 1], [4, 9, 3, 9, 9]
    chain = Chain(5)
    together = draw(chain.step, first, Sampling(1.3, 3, 0.95, seed=2, first=7), max_length=limits, stop=[STOP])
    for n, [one] in enumerate(together):
        chain.state = chain.start[n : n + 1]
        sampling = Sampling(1.3, 3, 0.95, seed=2, first=5)
        [[alone]] = draw(chain.step, first[n : n + 1], sampling, numbers=[2 + n], max_length=limits[n], stop=[STOP])
        assert (alone.tokens, alone.finished) == (one.tokens, one.finished)
        assert alone.log_prob == pytest.approx(one.log_prob, abs=1e-12)
    chain.state = chain.start
    others = draw(chain.step, first, Sampling(1.3, 3, 0.95, seed=3, first=7), max_length=limits, stop=[STOP])
    assert others != together


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(top_k=1), Sampling(top_p=1e-9)])
def test_drawing_the_likeliest_is_greedy(sampling: Sampling) -> None:
    chain = Chain(3)
    drawn = draw(chain.step, [0, 1, 2], sampling, max_length=LENGTH, stop=[STOP])
    chain.state = chain.start
    greedy = beam_search(chain.step, [0, 1, 2], beams=1, max_length=LENGTH, stop=[STOP])
    assert drawn == greedy


def test_what_cannot_be_drawn_is_refused() -> None:
    chain = Chain(1)
    for given in ({"beams": 2}, {"alpha": 0.5}):
        with pytest.raises(ValueError, match="sampling: expected none beside beams and alpha"):
            find(chain.step, [0], usual=(3, 1.0), sampling=Sampling(), **given)
    with pytest.raises(ValueError, match=r"\[draw\] samples: expected at least 1, got 0"):
        draw(chain.step, [0], Sampling(), samples=0)
    with pytest.raises(ValueError, match="samples, max_length: expected at most 4096 and 1048576, got 5000, 100"):
        draw(chain.step, [0], Sampling(), samples=5000)
    for options, match in (({"seed": -1}, "seed"), ({"first": -1}, "first"), ({"top_p": 0.0}, "top_p")):
        with pytest.raises(ValueError, match=match):
            draw(chain.step, [0], Sampling(**options))
    with pytest.raises(ArithmeticError, match="NaN"):
        draw(lambda tokens, rows: np.full((len(tokens), V), np.nan), [0], Sampling())
    assert draw(lambda tokens, rows: np.zeros((0, V)), [], Sampling()) == []


class Counted(Chain):
    """Counts the rows that were stepped."""

    rows = 0

    def step(self, tokens: Rows, rows: Rows) -> Any:
        self.rows += len(rows)
        return super().step(tokens, rows)


def test_samples_of_a_beginning_share_its_state() -> None:
    chain = Counted(2)
    found = draw(chain.step, [0, 1], Sampling(seed=1), samples=50, max_length=3, stop=[STOP])
    assert [len(each) for each in found] == [50, 50]
    assert chain.rows == 2 + 100 + 100, "the first step is one for all samples"
    assert len({one.tokens for one in found[0]}) > 10
    chain.state = chain.start
    few = draw(chain.step, [0, 1], Sampling(seed=1), samples=7, max_length=3, stop=[STOP])
    assert [each[:7] for each in found] == few, "a sample does not depend on how many there are"
    for n, each in enumerate(found):
        for one in each:
            tokens = (*one.tokens, STOP) if one.finished else one.tokens
            assert len(one.log_probs) == len(tokens)
            assert one.log_prob == pytest.approx(chain.log_prob(n, n, tokens), abs=1e-12)


@pytest.mark.parametrize("options", [{"beams": 3, "alpha": 0.5, "top": 3}, {"sampling": Sampling(seed=3), "top": 4}])
def test_a_prefix_is_read_once_and_gone_on_from(options: dict[str, Any]) -> None:
    chain = Counted(2, seed=3)
    prefix = [1, 2, 0]
    found = find(chain.step, [0, 1], usual=(2, 0.0), prefix=prefix, max_length=1, **options)
    assert chain.rows == 2 * 4
    chain.state = chain.start
    for first, token in zip(([0, 1], [1, 1], [2, 2]), prefix, strict=True):
        chain.step(np.array(first), np.arange(2))
        last = [token, token]
    assert find(chain.step, last, usual=(2, 0.0), max_length=1, **options) == found
    for n, each in enumerate(found):
        for one in each:
            whole = chain.log_prob(n, n, (*prefix, *one.tokens)) - chain.log_prob(n, n, tuple(prefix))
            assert one.log_prob == pytest.approx(whole, abs=1e-12)


def test_the_log_probabilities_of_tokens_are_the_chain_rules() -> None:
    chain = Chain(2, seed=4)
    for n, each in enumerate(beam_search(chain.step, [0, 1], beams=4, max_length=5, stop=[STOP], alpha=0.7, top=4)):
        for one in each:
            tokens = (*one.tokens, STOP) if one.finished else one.tokens
            steps = [
                chain.log_prob(n, n, tokens[: t + 1]) - chain.log_prob(n, n, tokens[:t]) for t in range(len(tokens))
            ]
            assert one.log_probs == pytest.approx(steps, abs=1e-12)
            assert one.log_prob == sum(one.log_probs)


def test_something_else_may_end_a_text() -> None:
    """A search that ends after two equal tokens finds the best of all texts that end so or with the stop token."""
    chain = Chain(1, seed=6)

    def ended(tokens: tuple[int, ...]) -> bool:
        return len(tokens) > 1 and tokens[-1] == tokens[-2]

    wanted = []
    for length in range(1, LENGTH + 1):
        for tokens in product(range(V), repeat=length):
            if any(ended(tokens[:cut]) or tokens[cut - 1] == STOP for cut in range(1, length)):
                continue
            if tokens[-1] == STOP or ended(tokens):
                wanted.append((chain.log_prob(0, 0, tokens), tokens))
    chain.state = chain.start
    [found] = beam_search(chain.step, [0], beams=V**LENGTH, max_length=LENGTH, stop=[STOP], ended=ended, top=8)
    for one, (total, tokens) in zip(found, sorted(wanted, reverse=True)[:8], strict=True):
        assert one.finished
        assert one.tokens == (tokens[:-1] if tokens[-1] == STOP else tokens)
        assert one.log_prob == pytest.approx(total, abs=1e-12)
    chain.state = chain.start
    [drawn] = draw(chain.step, [0], Sampling(seed=2), samples=200, max_length=30, stop=[STOP], ended=ended)
    assert all(one.finished for one in drawn)
    ends = [one for one in drawn if len(one.log_probs) == len(one.tokens)]
    assert len(ends) > 20
    assert all(ended(one.tokens) and not any(ended(one.tokens[:cut]) for cut in range(len(one.tokens))) for one in ends)
