#!/usr/bin/env python3
"""rnncore's character language model, written with PyTorch alone: same model, data, schedule and initial weights.

    python bench/char_lm_torch.py --text FILE --epochs 3 [--weights FILE.npz]

Embedding (V, E) -> LSTM stack -> linear (V, H). Streams: the training text is cut into N contiguous pieces read T
characters at a time, the state carried over and detached. Adam, gradients clipped by global norm. Written apart from
rnncore on purpose: bench/char_lm_parity.py trains both and compares.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Settings:
    """The schedule and the sizes that both trainings share."""

    hidden: int = 128
    layers: int = 2
    batch: int = 50
    bptt: int = 50
    epochs: int = 3
    lr: float = 2e-3
    clip: float = 5.0
    valid: float = 0.1
    test: float = 0.0


class CharacterModel(nn.Module):
    """P(next character | all before); its parameters carry rnncore's names."""

    def __init__(self, characters: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, hidden)
        self.rnn = nn.LSTM(hidden, hidden, layers)
        self.head = nn.Linear(hidden, characters)

    def forward(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """ids (T, N) -> logits (T, N, V) and the state after the last step."""
        output, state = self.rnn(self.embedding(ids), state)
        return self.head(output), state


def split(ids: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation part: the text's head, and what stands before the test part at its end."""
    length = len(ids)
    test_at = length - round(settings.test * length)
    valid_at = length - round((settings.valid + settings.test) * length)
    return ids[:valid_at], ids[valid_at:test_at]


def chunks(ids: np.ndarray, batch: int, bptt: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (T, N) of full chunks; stream n starts where the text divides evenly."""
    stride = (len(ids) - 1) // batch
    starts = np.arange(batch) * stride
    for t in range(0, stride // bptt * bptt, bptt):
        where = starts[None, :] + np.arange(t, t + bptt)[:, None]
        yield torch.from_numpy(ids[where]), torch.from_numpy(ids[where + 1])


def validate(model: CharacterModel, ids: np.ndarray, chunk: int = 1000) -> float:
    """Nats a character by the chain rule over the whole text, every character but the first predicted once."""
    total, state = 0.0, None
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, chunk):
            piece = torch.from_numpy(ids[start : start + chunk + 1])
            logits, state = model(piece[:-1, None], state)
            total += nn.functional.cross_entropy(logits[:, 0], piece[1:], reduction="sum").item()
    return total / (len(ids) - 1)


def train(model: CharacterModel, ids: np.ndarray, settings: Settings) -> list[float]:
    """Trains in place; validation nats after each epoch."""
    training, validation = split(ids, settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    nats = []
    for epoch in range(settings.epochs):
        start, state = time.perf_counter(), None
        for inputs, targets in chunks(training, settings.batch, settings.bptt):
            optimizer.zero_grad(set_to_none=True)
            logits, state = model(inputs, state)
            state = tuple(part.detach() for part in state)
            nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            optimizer.step()
        seconds = time.perf_counter() - start
        nats.append(validate(model, validation))
        print(f"torch    epoch {epoch + 1}: {nats[-1]:.4f} nats, {seconds:.1f} s", flush=True)
    return nats


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of Settings, and the text."""
    defaults = Settings()
    parser.add_argument("--text", type=Path, help="UTF-8 file (default: the bundled tinyshakespeare)")
    for name, value in vars(defaults).items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="a small model on the first 20,000 characters")


def read(args: argparse.Namespace) -> tuple[str, Settings]:
    """The text and the settings of a command line; fixes PyTorch's number of threads."""
    torch.set_num_threads(1 if args.quick else args.threads)
    bundled = Path(__file__).resolve().parent.parent / "python/rnncore/data/tinyshakespeare.txt"
    text = (args.text or bundled).read_text(encoding="utf-8")
    settings = Settings(**{name: getattr(args, name) for name in vars(Settings())})
    if args.quick:
        small = {**vars(settings), "hidden": 16, "batch": 5, "bptt": 20, "epochs": 1}
        return text[:20_000], Settings(**small)
    return text, settings


def main() -> None:
    """Trains PyTorch's model alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--weights", type=Path, help="initial weights: .npz with the parameters' names")
    parser.add_argument("--seed", type=int, default=1, help="of PyTorch's own initial weights, without --weights")
    args = parser.parse_args()
    text, settings = read(args)
    torch.manual_seed(args.seed)
    alphabet = sorted(set(text))
    ids = np.array([alphabet.index(c) for c in text], dtype=np.int64)
    model = CharacterModel(len(alphabet), settings.hidden, settings.layers)
    if args.weights:
        with np.load(args.weights) as weights:
            model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    nats = train(model, ids, settings)
    print(f"validation {nats[-1]:.4f} nats, perplexity {math.exp(nats[-1]):.3f}")


if __name__ == "__main__":
    main()
