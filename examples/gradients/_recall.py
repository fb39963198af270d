"""The recall task that several experiments share: a symbol, then blanks, then: which symbol was it?"""

from __future__ import annotations

import numpy as np

import rnncore
from rnncore import Tensor, nn
from rnncore.nn import Layer

SYMBOLS = 8  # by chance one answer in eight is right
NETWORKS = {
    "tanh RNN": {"layer": Layer("rnn-tanh", 64)},
    "IRNN": {"layer": Layer("rnn-relu", 64), "init": "identity"},
    "GRU": {"layer": Layer("gru", 64)},
    "LSTM": {"layer": Layer("lstm", 64), "forget_bias": 1.0},
    "LSTM, chrono 200": {"layer": Layer("lstm", 64), "chrono": 200},
    "tanh RNN, delay 10": {"layer": Layer("rnn-tanh", 64, delays=(10,))},
}


def batch(rng: np.random.Generator, gap: int, size: int) -> tuple[Tensor, Tensor]:
    """One-hot inputs (gap + 1, N, 9): the symbol, then blanks; and the symbols (N,)."""
    symbols = rng.integers(0, SYMBOLS, size)
    ids = np.full((gap + 1, size), SYMBOLS)
    ids[0] = symbols
    return Tensor(np.eye(SYMBOLS + 1, dtype=np.float32)[ids]), Tensor(symbols)


class Recaller(nn.Module):
    """A recurrent layer, and a linear one over the symbols."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__()
        options = dict(NETWORKS[name])
        generator = rnncore.Generator(seed)
        self.rnn = nn.Recurrent(SYMBOLS + 1, [options.pop("layer")], generator=generator, **options)  # type: ignore[arg-type]
        self.output = nn.Linear(64, SYMBOLS, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """X (T, N, 9) -> logits of the last step (N, 8)."""
        return self.output(self.rnn(x)[0][-1])


def share_right(model: Recaller, gap: int) -> float:
    """Of 500 fresh sequences."""
    x, symbols = batch(np.random.default_rng(999), gap, 500)
    with rnncore.no_grad():
        return float((model(x).numpy().argmax(axis=1) == symbols.numpy()).mean())
