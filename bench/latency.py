#!/usr/bin/env python3
"""What Python adds to a step, and what everything else adds to drawing text.

    python bench/latency.py [--quick]

First table: `Stream.step` from Python, N = 1, I = H, beside the same step from C++ (bench/native/stream.cpp, whose
program may be given by --native). Second table: a token of `generate` with three layers of 512 beside the step of the
same stack alone; what is beyond it is the output layer, the draw and Python. Medians; nothing else should run
meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable

import numpy as np

import rnncore
from rnncore import nn
from rnncore.data import Vocabulary
from rnncore.generate import generate
from rnncore.models import LanguageModel

SIZES = (8, 16, 32, 64, 128, 256)


def seconds(work: Callable[[], object], total: float) -> float:
    """Median seconds of one call: rounds of as many calls as take a twentieth of `total`."""
    start = time.perf_counter()
    work()
    once = max(time.perf_counter() - start, 1e-7)
    calls, rounds = max(1, int(total / 20 / once)), []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        rounds.append((time.perf_counter() - start) / calls)
    return statistics.median(rounds)


def native_ns(program: str, size: int) -> float:
    """The step's time from C++, in nanoseconds."""
    command = [program, f"--benchmark_filter=stream_step<CellKind::lstm>/H:{size}/N:1/", "--benchmark_format=json"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(json.loads(output)["benchmarks"][0]["real_time"])


def step_table(total: float, native: str | None) -> None:
    """LSTM steps from Python."""
    print("LSTM step, N = 1, ns")
    print(f"{'H':>5} {'step(x)':>9} {'step(x, out)':>13} {'C++':>9}")
    for size in SIZES:
        stream = nn.LSTM(size, size, generator=rnncore.Generator(1)).stream()
        x, out = np.ones((1, size), np.float32), np.empty((1, size), np.float32)
        fresh = seconds(lambda s=stream, x=x: s.step(x), total)  # type: ignore[misc]
        into = seconds(lambda s=stream, x=x, y=out: s.step(x, y), total)  # type: ignore[misc]
        beside = f"{native_ns(native, size):9.0f}" if native else f"{'-':>9}"
        print(f"{size:5d} {1e9 * fresh:9.0f} {1e9 * into:13.0f} {beside}")


def sampling_table(total: float, hidden: int, tokens: int) -> None:
    """Tokens of `generate` beside steps."""
    letters = [chr(ord("!") + token) for token in range(65)]
    model = LanguageModel(hidden_size=hidden, num_layers=3, vocabulary=Vocabulary("char", letters))
    print(f"\ndrawing text, three layers of {hidden}, V = 65, µs a step")
    print(f"{'N':>5} {'generate':>9} {'stack alone':>12} {'beyond':>7}")
    for batch in (1, 64):
        stream = model.rnn.stream(batch, embedding=model.embedding.weight, threads=True)
        ids, out = np.arange(batch) % 65, np.empty((batch, hidden), np.float32)
        alone, drawn = [], []
        for _ in range(5):  # alternating: the machine's speed drifts
            alone.append(seconds(lambda s=stream, i=ids, y=out: s.step(i, y), total))  # type: ignore[misc]
            start = time.perf_counter()
            generate(model, letters[0], length=tokens, num_samples=batch)
            drawn.append((time.perf_counter() - start) / tokens)
        step, token = statistics.median(alone), statistics.median(drawn)
        print(f"{batch:5d} {1e6 * token:9.1f} {1e6 * step:12.1f} {token / step - 1:7.1%}")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--native", metavar="PROGRAM", help="rnncore_bench, for the column C++")
    parser.add_argument("--quick", action="store_true", help="shows that it runs, not how fast")
    args = parser.parse_args()
    step_table(0.002 if args.quick else 0.2, args.native)
    sampling_table(0.01 if args.quick else 0.5, 32 if args.quick else 512, 5 if args.quick else 400)


if __name__ == "__main__":
    main()
