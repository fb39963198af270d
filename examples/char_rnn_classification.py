#!/usr/bin/env python3
"""Which language is a surname from? A character RNN written out by hand, as courses teach it with PyTorch.

    python examples/char_rnn_classification.py --names examples/data/names

The model is two linear layers over the letter and the state, the loop over the letters is Python's, and the update is
`p.add_(p.grad, alpha=-lr)`. The two import lines marked below are all that differs from the program for PyTorch; swap
them and it runs there.
"""

from __future__ import annotations

import argparse
import random
import time
import unicodedata
from pathlib import Path

import numpy as np

import rnncore as torch  # PyTorch: import torch
from rnncore import nn  # PyTorch: from torch import nn

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;'-"


class RNN(nn.Module):
    """hidden' = W_h [input, hidden] + b_h;  output = log softmax(W_o [input, hidden] + b_o)."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, letter: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Letter (1, I), hidden (1, H) -> log-probabilities (1, classes), the next hidden state (1, H)."""
        combined = torch.cat((letter, hidden), 1)
        return self.softmax(self.i2o(combined)), self.i2h(combined)

    def init_hidden(self) -> torch.Tensor:
        """The state before the first letter: zeros (1, H)."""
        return torch.zeros(1, self.hidden_size)


def ascii_name(name: str) -> str:
    """Accents taken off, other characters left out: 'Ślusàrski' -> 'Slusarski'."""
    decomposed = unicodedata.normalize("NFD", name)
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn" and c in LETTERS)


def read_names(folder: Path) -> dict[str, list[str]]:
    """Class -> names, one class a file."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise SystemExit(f"[names] {folder}: expected files like English.txt, got none")
    return {f.stem: [ascii_name(line) for line in f.read_text("utf-8").split("\n") if line] for f in files}


def name_tensor(name: str) -> torch.Tensor:
    """One-hot letters: (length, 1, number of letters)."""
    one_hot = np.zeros((len(name), 1, len(LETTERS)), np.float32)
    one_hot[np.arange(len(name)), 0, [LETTERS.index(c) for c in name]] = 1.0
    return torch.tensor(one_hot)


def classify(rnn: RNN, name: str) -> torch.Tensor:
    """Log-probabilities (1, classes) after the last letter."""
    hidden = rnn.init_hidden()
    letters = name_tensor(name)
    for i in range(letters.shape[0]):
        output, hidden = rnn(letters[i], hidden)
    return output


def train_step(rnn: RNN, criterion: nn.NLLLoss, name: str, category: int, learning_rate: float) -> float:
    """One name: forward over its letters, loss of the last output, backward through time, plain gradient descent."""
    rnn.zero_grad()
    loss = criterion(classify(rnn, name), torch.tensor([category]))
    loss.backward()
    with torch.no_grad():
        for p in rnn.parameters():
            p.add_(p.grad, alpha=-learning_rate)
    return loss.item()


def accuracy(rnn: RNN, names: dict[str, list[str]], draw: random.Random, count: int) -> float:
    """Part of `count` names, drawn with every class equally likely, whose most likely class is right."""
    categories, correct = list(names), 0
    with torch.no_grad():
        for _ in range(count):
            category = draw.randrange(len(categories))
            output = classify(rnn, draw.choice(names[categories[category]]))
            correct += int(output.numpy().argmax()) == category
    return correct / count


def main() -> None:
    """Trains on single names drawn with every class equally likely, and reports as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path, default=Path(__file__).resolve().parent / "data" / "names")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1, help="of the names drawn")
    parser.add_argument("--quick", action="store_true", help="2,000 steps: a few seconds")
    args = parser.parse_args()
    steps = 2_000 if args.quick else args.steps
    names = read_names(args.names)
    categories = list(names)
    draw = random.Random(args.seed)
    rnn = RNN(len(LETTERS), args.hidden, len(categories))
    criterion = nn.NLLLoss()
    start, losses = time.perf_counter(), []
    for step in range(1, steps + 1):
        category = draw.randrange(len(categories))
        losses.append(train_step(rnn, criterion, draw.choice(names[categories[category]]), category, args.lr))
        if step % (steps // 10) == 0:
            rate = step / (time.perf_counter() - start)
            print(f"{step:7} names   loss {np.mean(losses):.3f} nats   {rate:,.0f} names/s", flush=True)
            losses = []
    print(f"accuracy on 2,000 names, every class equally likely: {accuracy(rnn, names, draw, 2_000):.1%}")
    for name in ("Dovesky", "Satoshi", "Jackson"):
        with torch.no_grad():
            print(f"{name}: {categories[int(classify(rnn, name).numpy().argmax())]}")


if __name__ == "__main__":
    main()
