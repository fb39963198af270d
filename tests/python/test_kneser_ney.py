"""The n-gram baseline: a case by hand, Chen & Goodman's formula in fractions, distributions that sum to one."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rnncore.data import TextCorpus, tinyshakespeare

SCRIPT = Path(__file__).parents[2] / "examples" / "kneser_ney.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kneser_ney", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kneser_ney"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def counts_of(tokens: list[int], order: int) -> list[Counter[tuple[int, ...]]]:
    """How often n-grams occur, below the highest order how many different tokens (or the start) stand before them."""
    grams = [[tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)] for n in range(1, order + 2)]
    found = [Counter(gram[1:] for gram in set(grams[n])) for n in range(1, order)]
    for n in range(1, order):
        found[n - 1][grams[n - 1][0]] += 1
    return [*found, Counter(grams[order - 1])]


def probability(counts: list[Counter[tuple[int, ...]]], gram: tuple[int, ...], size: int, discount: Any) -> Fraction:
    """The formula, recursively."""
    if not gram:
        return Fraction(1, size)
    own, context = counts[len(gram) - 1], gram[:-1]
    after = {w: own[(*context, w)] for w in range(size) if own[(*context, w)]}
    lower = probability(counts, gram[1:], size, discount)
    if not after:
        return lower
    total = sum(after.values())
    left = sum(discount(len(gram), count) for count in after.values())
    kept = max(own[gram] - discount(len(gram), own[gram]), 0) if own[gram] else 0
    return (kept + left * lower) / total


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_formula(script: ModuleType, order: int) -> None:
    rng = np.random.default_rng(order)
    tokens = rng.choice(6, size=60, p=[0.4, 0.25, 0.15, 0.1, 0.1, 0.0])  # 5 never comes
    model = script.KneserNey(tokens, 6, order)
    discounts = [[Fraction(float(d)).limit_denominator(10**9) for d in one.discounts] for one in model.orders]
    counts = counts_of(tokens.tolist(), order)
    text = rng.integers(0, 6, size=40)
    found = model.probabilities(text)
    for at in range(len(text)):
        gram = tuple(text[max(0, at - order + 1) : at + 1].tolist())
        wanted = probability(counts, gram, 6, lambda n, count: discounts[n - 1][min(count, 3)])
        assert found[at] == pytest.approx(float(wanted), rel=1e-6), at


def test_a_bigram_model_by_hand(script: ModuleType) -> None:
    """a b a b a c: bigrams ab 2, ba 2, ac 1; before a: the start and b, before b: a, before c: a."""
    model = script.KneserNey(np.array([0, 1, 0, 1, 0, 2]), 3, 2)
    unigrams, bigrams = model.orders
    assert unigrams.counts.tolist() == [2, 1, 1]
    assert bigrams.counts.tolist() == [2, 1, 2]  # ab, ac, ba
    # Unigrams: n1 = 2, n2 = 1, n3 = 0: Y = 2 / 4, D1 = 1 - 2 * 1/2 * 1/2 = 1/2; D2 cannot be had and is D1.
    assert unigrams.discounts.tolist() == [0, 0.5, 0.5, 0.5]
    # Bigrams: n1 = 1, n2 = 2: Y = 1/5, D1 = 1 - 2 * 1/5 * 2/1 = 1/5; D2 = 1/2.
    assert bigrams.discounts.tolist() == pytest.approx([0, 0.2, 0.5, 0.5])
    p_b = (1 - 0.5) / 4 + (3 * 0.5) / 4 / 3
    assert p_b == 0.25
    p_b_after_a = (2 - 0.5) / 3 + (0.5 + 0.2) / 3 * p_b
    assert model.probabilities(np.array([0, 1]))[1] == pytest.approx(p_b_after_a, rel=1e-12)


def test_discounts_of_a_large_text_are_the_formula(script: ModuleType) -> None:
    counts = np.repeat([1, 2, 3, 4, 5, 9], [1000, 400, 200, 100, 60, 40])
    y = 1000 / 1800
    wanted = [0, 1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.5]
    assert script.discounts_of(counts).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("level", ["char", "word"])
def test_every_distribution_sums_to_one(script: ModuleType, level: Any) -> None:
    text = tinyshakespeare().read_text()[:20_000]
    corpus = TextCorpus.from_text(text, level=level)
    size = len(corpus.vocabulary)
    model = script.KneserNey(corpus.train, size, 5)
    context = corpus.valid.astype(np.int64)
    for at in (1, 7, 50, len(context) - 1):
        rows = [model.probabilities(np.append(context[max(at - 6, 0) : at], token))[-1] for token in range(size)]
        assert sum(rows) == pytest.approx(1, abs=1e-9)
        assert min(rows) > 0


def test_more_context_predicts_better(script: ModuleType) -> None:
    corpus = TextCorpus.from_text(tinyshakespeare().read_text()[:100_000])
    nats = [script.KneserNey(corpus.train, len(corpus.vocabulary), n).nats(corpus.valid) for n in (1, 2, 3, 5)]
    assert nats == sorted(nats, reverse=True)
    assert nats[0] > 3
    assert nats[-1] < 2.1
