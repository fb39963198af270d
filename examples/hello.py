#!/usr/bin/env python3
"""The smallest character model: four letters, one-hot, learn to continue h -> e -> l -> l -> o.

    python examples/hello.py

After the same letter "l" once "l" and once "o" has to follow: only a network that remembers can get both right.
"""

from __future__ import annotations

import argparse

import numpy as np

import rnncore
from rnncore import Tensor, nn, optim

LETTERS = "helo"
WORD = "hello"


def one_hot(text: str) -> Tensor:
    """Text of length T as a time-major sequence of one stream: (T, N=1, I=4)."""
    return Tensor(np.eye(len(LETTERS), dtype=np.float32)[[LETTERS.index(c) for c in text]][:, None, :])


class NextLetter(nn.Module):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh); logits_t = W_o h_t + b_o."""

    def __init__(self, hidden_size: int, generator: rnncore.Generator) -> None:
        super().__init__()
        self.rnn = nn.RNN(len(LETTERS), hidden_size, generator=generator)
        self.output = nn.Linear(hidden_size, len(LETTERS), generator=generator)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """X (T, 1, 4) -> logits (T, 4) and the state after the last step (1, 1, H)."""
        hidden, state = self.rnn(x, state)
        return self.output(hidden[:, 0]), state


def train(model: NextLetter, steps: int) -> None:
    """Full backpropagation through time over the whole word."""
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    criterion = nn.CrossEntropyLoss()
    x = one_hot(WORD[:-1])
    targets = Tensor(np.array([LETTERS.index(c) for c in WORD[1:]]))
    for step in range(steps):
        optimizer.zero_grad()
        logits, _ = model(x)
        loss = criterion(logits, targets)
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step:3}   loss {loss.item():.4f} nats a letter")


def spell(model: NextLetter, first: str, length: int) -> str:
    """Feeds the first letter, then always the most likely letter back in."""
    text, state = first, None
    with rnncore.no_grad():
        for _ in range(length - 1):
            logits, state = model(one_hot(text[-1]), state)
            text += LETTERS[int(logits.numpy()[-1].argmax())]
    return text


def main() -> None:
    """Trains, then spells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="for the tests: the same, it is quick anyway")
    parser.parse_args()
    model = NextLetter(hidden_size=8, generator=rnncore.Generator(1))
    train(model, steps=60)
    print(f"from 'h': {spell(model, 'h', len(WORD))}")


if __name__ == "__main__":
    main()
