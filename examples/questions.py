#!/usr/bin/env python3
"""A recurrent network as the encoder of another model: questions about pictures, answered with yes or no.

    python examples/questions.py

A GRU reads the question, a linear layer the picture (a digit of 8 x 8 pixels, bundled), and a small classifier answers
from both; the gradient goes through all of it. The test part are pictures that were never seen. A classifier that sees
only one of the two does hardly better than always saying no: --without question, or picture, shows it.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import rnncore
from rnncore import Tensor, nn, no_grad, optim
from rnncore.data import Vocabulary, digits8x8
from rnncore.models.classifier import pad_ids
from rnncore.nn import functional as F

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
QUESTIONS = {  # question -> the digits for which the answer is yes
    "is it even": {0, 2, 4, 6, 8},
    "is it odd": {1, 3, 5, 7, 9},
    **{f"is it {name}": {n} for n, name in enumerate(NAMES)},
    **{f"is it smaller than {name}": set(range(n)) for n, name in enumerate(NAMES) if n},
    **{f"is it larger than {name}": set(range(n + 1, 10)) for n, name in enumerate(NAMES) if n < 9},
}


class Answer(nn.Module):
    """A question (T, N) of word ids and a picture (N, 64) to two logits: no and yes."""

    def __init__(self, words: int, hidden: int, generator: rnncore.Generator) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 16, generator=generator)
        self.question = nn.GRU(16, hidden, generator=generator)
        self.picture = nn.Linear(64, hidden, generator=generator)
        self.both = nn.Linear(2 * hidden, hidden, generator=generator)
        self.answer = nn.Linear(hidden, 2, generator=generator)

    def forward(self, question: Any, lengths: Any, pixels: Any) -> Tensor:
        """Logits (N, 2)."""
        _, last = self.question(self.embedding(question), lengths=lengths)  # (1, N, H): what the question asks
        seen = self.picture(Tensor(pixels)).relu()
        return self.answer(self.both(rnncore.cat([last[0], seen], 1)).relu())


def main() -> None:
    """Trains, tests, asks about one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without", choices=["question", "picture"], help="what the network does not get to see")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--updates", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few updates")
    args = parser.parse_args()
    if args.quick:
        args.updates = 500
    pixels, digits = digits8x8()
    test = np.arange(len(digits)) % 5 == 0
    vocabulary = Vocabulary.build("\n".join(QUESTIONS), level="word")
    asked, lengths = pad_ids([vocabulary.encode(text, end_line=False) for text in QUESTIONS])  # (T, Q)
    right = np.array([[digit in digits for digit in range(10)] for digits in QUESTIONS.values()])  # (Q, 10)
    if args.without == "question":
        asked = np.zeros_like(asked)
    if args.without == "picture":
        pixels = np.zeros_like(pixels)

    generator = rnncore.Generator(args.seed)
    model = Answer(len(vocabulary), args.hidden, generator)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    draw = np.random.default_rng(args.seed)
    training = np.flatnonzero(~test)
    for step in range(1, args.updates + 1):
        chosen, questions = draw.choice(training, 64), draw.integers(len(QUESTIONS), size=64)
        logits = model(asked[:, questions], lengths[questions], pixels[chosen])
        loss = F.cross_entropy(logits, right[questions, digits[chosen]].astype(np.int64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(clip_norm=1.0)
        if step % max(args.updates // 4, 1) == 0:
            print(f"update {step:5}  loss {loss.item():.3f}")

    seen = np.flatnonzero(test)
    pairs = np.array([(place, question) for place in seen for question in range(len(QUESTIONS))])
    with no_grad():
        logits = model(asked[:, pairs[:, 1]], lengths[pairs[:, 1]], pixels[pairs[:, 0]])
    said, wanted = logits.numpy().argmax(1), right[pairs[:, 1], digits[pairs[:, 0]]]
    print(f"{100 * (said == wanted).mean():.2f}% of {len(pairs):,} answers about {len(seen)} new pictures are right")
    print(f"always no: {100 * (1 - wanted.mean()):.2f}%")
    print(
        f"a {NAMES[digits[seen[7]]]}:",
        *(text for text, yes in zip(QUESTIONS, said[pairs[:, 0] == seen[7]], strict=True) if yes),
        sep="\n  ",
    )


if __name__ == "__main__":
    main()
