"""What every cell and option costs beside the plain LSTM: training and inference of one shape, alternating.

    python bench/cells.py --shape 50,64,1,256 --threads 2
    python bench/cells.py --quick                          # a smoke run

For each row: median milliseconds of forward and backward, the spread (interquartile range over the median), the time
over the LSTM's of the same rounds, and the same for a unit of product (multiply-adds of all products): below 1, the
cell makes more of the machine than the LSTM does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import rnncore
from rnncore import nn

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "lstm peephole": ("LSTM", {"peephole": True}),
    "lstm coupled": ("LSTM", {"coupled": True}),
    "lstm no forget gate": ("LSTM", {"forget_gate": False}),
    "lstm truncated": ("LSTM", {"truncate_gates": True}),
    "lstm clip": ("LSTM", {"clip": 3.0}),
    "lstm hard-sigmoid": ("LSTM", {"activations": {"gate": "hard-sigmoid"}}),
    "lstm layer norm": ("LSTM", {"layer_norm": True}),
    "lstm zoneout": ("LSTM", {"zoneout": (0.05, 0.5)}),
    "lstm state dropout": ("LSTM", {"state_dropout": 0.3}),
    "lstm projected": ("LSTM", {"proj_size": 0.5}),  # of H
    "gru": ("GRU", {}),
    "gru reset before": ("GRU", {"reset_after": False}),
    "gru layer norm": ("GRU", {"layer_norm": True}),
    "gru before layer norm": ("GRU", {"reset_after": False, "layer_norm": True}),
    "gru zoneout": ("GRU", {"zoneout": 0.1}),
    "mgu": ("MGU", {}),
    "mgu layer norm": ("MGU", {"layer_norm": True}),
    "rnn tanh": ("RNN", {}),
    "rnn softsign": ("RNN", {"nonlinearity": "softsign"}),
    "rnn layer norm": ("RNN", {"layer_norm": True}),
    "rnn leaky": ("RNN", {"leak": 0.3}),
    "rnn clockwork": ("RNN", {"group_periods": (1, 2)}),
    "indrnn": ("IndRNN", {}),
    "indrnn layer norm": ("IndRNN", {"layer_norm": True}),
}
GATES = {"LSTM": 4, "GRU": 3, "MGU": 2, "RNN": 1, "IndRNN": 1}


@dataclass
class Row:
    """One row's module, its products' multiply-adds and its times in seconds."""

    run: Callable[[], None]
    products: float
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        quarters = statistics.quantiles(self.seconds, n=4)
        return (quarters[2] - quarters[0]) / self.median


def products(kind: str, options: dict[str, Any], shape: tuple[int, ...], train: bool) -> float:
    """Multiply-adds of a row's products; backward's are twice forward's, but for the lowest layer's input."""
    steps, batch, layers, hidden = shape
    gates = GATES[kind] - (1 if options.get("coupled") or options.get("forget_gate") is False else 0)
    out = options.get("proj_size", hidden)  # features of h
    rows = float(steps * batch)
    below = rows * gates * hidden * hidden  # of the lowest layer's input
    input_side = below + rows * gates * hidden * out * (layers - 1)
    recurrent = 0.0 if kind == "IndRNN" else rows * gates * hidden * out * layers
    projected = rows * hidden * out * layers if "proj_size" in options else 0.0
    forward = input_side + recurrent + projected
    return 3 * forward - below if train else forward


def options_of(name: str, hidden: int) -> tuple[str, dict[str, Any]]:
    """A row's cell and options for H units."""
    kind, options = ROWS[name]
    sizes = {"proj_size": max(1, int(options["proj_size"] * hidden))} if "proj_size" in options else {}
    return kind, {**options, **sizes}


def make(name: str, shape: tuple[int, ...], train: bool) -> Row:
    """A row ready to be timed."""
    steps, batch, layers, hidden = shape
    kind, options = options_of(name, hidden)
    generator = rnncore.Generator(1)
    module: nn.Module
    if "group_periods" in options:
        module = nn.Recurrent(hidden, [nn.Layer("rnn-tanh", hidden, **options)] * layers, generator=generator)
    else:
        module = getattr(nn, kind)(hidden, hidden, layers, generator=generator, **options)
    random = np.random.default_rng(0)
    x = rnncore.tensor(random.standard_normal((steps, batch, hidden), np.float32))
    width = options.get("proj_size", hidden)
    dy = rnncore.tensor(random.standard_normal((steps, batch, width), np.float32))

    def training() -> None:
        module.zero_grad()
        output, _ = module(x)
        output.backward(dy)

    def inference() -> None:
        with rnncore.no_grad():
            module(x)

    module.train(train)
    return Row(training if train else inference, products(kind, options, shape, train))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="50,64,1,256", help="T,N,L,H (I = H)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--work", choices=("train", "infer"), default="train")
    parser.add_argument("--rows", default="", help="names separated by ','; the LSTM is always there")
    parser.add_argument("--quick", action="store_true", help="one tiny shape, few rounds: shows that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.shape, arguments.rounds, arguments.threads = "3,4,2,16", 2, 1
    rnncore.set_num_threads(arguments.threads)
    shape = tuple(int(size) for size in arguments.shape.split(","))
    names = [name for name in ROWS if name == "lstm" or not arguments.rows or name in arguments.rows.split(",")]
    rows = {name: make(name, shape, arguments.work == "train") for name in names}
    for _ in range(arguments.rounds + 2):
        for row in rows.values():
            start = time.perf_counter()
            row.run()
            row.seconds.append(time.perf_counter() - start)
    for row in rows.values():
        del row.seconds[:2]  # warm-up
    plain = rows["lstm"]
    print(f"{arguments.work} T,N,L,H = {arguments.shape}, {arguments.threads} threads, {rnncore.target_name()}")
    print(f"{'row':22}{'ms':>9}{'spread':>9}{'of lstm':>9}{'per product':>13}")
    for name, row in rows.items():
        ratio = statistics.median(a / b for a, b in zip(row.seconds, plain.seconds, strict=True))
        each = ratio * plain.products / row.products
        print(f"{name:22}{row.median * 1e3:9.2f}{row.spread:9.0%}{ratio:9.2f}{each:13.2f}")


if __name__ == "__main__":
    main()
