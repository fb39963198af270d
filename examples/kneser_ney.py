#!/usr/bin/env python3
"""An n-gram model with interpolated, modified Kneser-Ney smoothing: the baseline beside a recurrent language model.

    python examples/kneser_ney.py --text ptb.train.txt --valid ptb.valid.txt --test ptb.test.txt --level word
    python examples/kneser_ney.py --level char            # the bundled tinyshakespeare, its last tenth held out

Chen & Goodman 1998, section 3: with h the n-1 tokens before w, and h' the last n-2 of them,

    p(w | h) = max(c(hw) - D(c(hw)), 0) / c(h.)  +  (D1 N1(h.) + D2 N2(h.) + D3 N3+(h.)) / c(h.)  *  p(w | h')

where c(hw) is how often hw occurs, in orders below the highest how many different tokens stand before it; c(h.) is its
sum over w; Nk(h.) how many w have the count k after h (N3+: 3 or more). Below the lowest order is 1/V. In each order,
with n_k the number of its n-grams of count k and Y = n1 / (n1 + 2 n2), the discounts are

    D1 = 1 - 2 Y n2 / n1,    D2 = 2 - 3 Y n3 / n2,    D3 (of counts from 3 on) = 3 - 4 Y n4 / n3.

The text is one stream, as for the recurrent models: every token but the very first of a held-out text is predicted.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnncore.data import TextCorpus, tinyshakespeare

Array = NDArray[np.int64]
UNSEEN = -1


@dataclass
class Order:
    """The n-grams of one order. An n-gram is known by its number; its key is context number * V + last token."""

    keys: Array  # (n-grams,), rising
    counts: Array  # (n-grams,)
    discounts: NDArray[np.float64]  # (4,): of counts 0, 1, 2, and 3 or more
    totals: Array  # (contexts,): c(h.)
    weights: NDArray[np.float64]  # (contexts,): what the lower order gets

    def numbers_of(self, keys: Array) -> Array:
        """The number of each key's n-gram, or UNSEEN."""
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where((self.keys[at] == keys) & (keys >= 0), at, UNSEEN)


def discounts_of(counts: Array) -> NDArray[np.float64]:
    """D(0), D1, D2, D3; where a text is too small for the formula, the discount of the count below, at first 1/2."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    found = [0.0]
    for k in (1, 2, 3):
        if n[1] > 0 and n[2] > 0 and n[k] > 0 and n[k + 1] > 0:
            found.append(k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k])
        else:
            found.append(max(found[-1], 0.5))
    return np.clip(found, 0, [0, 1, 2, 3])


class KneserNey:
    """An n-gram model of token ids.

    Args:
        tokens: ids (L,) to learn from.
        vocab_size: V.
        order: n, the length of the longest n-grams; default 5.
    """

    def __init__(self, tokens: Array, vocab_size: int, order: int = 5) -> None:
        self.vocab_size = vocab_size
        tokens = np.asarray(tokens, dtype=np.int64)
        numbers = [
            np.zeros(len(tokens) + 1, dtype=np.int64)
        ]  # of the n-gram that ends before each place, n = 0, 1, ...
        keys, firsts = [], []
        for n in range(1, order + 1):
            key = np.where(numbers[-1][:-1] >= 0, numbers[-1][:-1] * vocab_size + tokens, UNSEEN)
            found, first, number = np.unique(key[n - 1 :], return_index=True, return_inverse=True)
            keys.append(found)
            firsts.append(first + n - 1)
            numbers.append(np.concatenate([np.full(n, UNSEEN), number.reshape(-1)]))
        self.orders: list[Order] = []
        for n in range(1, order + 1):
            size = len(keys[n - 1])
            if n == order:
                counts = np.bincount(numbers[n][n:], minlength=size)
            else:  # each different (n+1)-gram counts once for the n-gram that it ends with; so does the text's start
                counts = np.bincount(numbers[n][firsts[n] + 1], minlength=size)
                counts[numbers[n][n]] += 1
            contexts = keys[n - 1] // vocab_size
            self.orders.append(_order(keys[n - 1], counts, contexts, 1 if n == 1 else len(keys[n - 2])))

    def probabilities(self, tokens: Array) -> NDArray[np.float64]:
        """P(token | the tokens before it) of each token (L,)."""
        tokens = np.asarray(tokens, dtype=np.int64)
        found = np.full(len(tokens), 1 / self.vocab_size)
        context = np.zeros(len(tokens), dtype=np.int64)  # the number of the (n-1)-gram before each token
        for one in self.orders:
            key = np.where(context >= 0, context * self.vocab_size + tokens, UNSEEN)
            number = one.numbers_of(key)
            count = np.where(number >= 0, one.counts[number], 0)
            total = np.where(context >= 0, one.totals[context], 0)
            kept = np.maximum(count - one.discounts[np.minimum(count, 3)], 0)
            mixed = kept / np.maximum(total, 1) + one.weights[context] * found
            found = np.where(total > 0, mixed, found)
            context = np.concatenate([[UNSEEN], number[:-1]])
        return found

    def nats(self, tokens: Array) -> float:
        """The mean over all tokens but the first."""
        return float(-np.log(self.probabilities(tokens)[1:]).mean())


def _order(keys: Array, counts: Array, contexts: Array, size: int) -> Order:
    discounts = discounts_of(counts)
    totals = np.bincount(contexts, counts, minlength=size).astype(np.int64)
    left = np.bincount(contexts, discounts[np.minimum(counts, 3)], minlength=size)
    return Order(keys, counts, discounts, totals, left / np.maximum(totals, 1))


def main() -> None:
    """Counts, then scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=tinyshakespeare(), help="training text (UTF-8; .gz too)")
    parser.add_argument("--valid", type=Path, help="default: the last tenth of --text")
    parser.add_argument("--test", type=Path)
    parser.add_argument("--level", choices=["char", "byte", "word", "subword"], default="char")
    parser.add_argument("--vocab-size", type=int, help="as rnncore train lm")
    parser.add_argument("--orders", type=int, nargs="+", default=[5])
    parser.add_argument("--quick", action="store_true", help="for the tests: the first 60,000 characters")
    arguments = parser.parse_args()
    if arguments.quick:
        text = arguments.text.read_text(encoding="utf-8")[:60_000]
        corpus = TextCorpus.from_text(text, level=arguments.level, max_size=arguments.vocab_size)
    else:
        corpus = TextCorpus.from_files(
            arguments.text, arguments.valid, arguments.test, level=arguments.level, max_size=arguments.vocab_size
        )
    for order in arguments.orders:
        model = KneserNey(corpus.train, len(corpus.vocabulary), order)
        sizes = ", ".join(f"{len(one.keys):,}" for one in model.orders)
        print(f"order {order}: n-grams of 1 to {order} tokens: {sizes}")
        for name in ("valid", "test"):
            if len(part := corpus.part(name)) > 1:
                nats = model.nats(part)
                print(
                    f"order {order}: {name} {nats:.4f} nats, perplexity {math.exp(nats):.2f}, {len(part) - 1:,} tokens"
                )


if __name__ == "__main__":
    main()
