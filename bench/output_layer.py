#!/usr/bin/env python3
"""Output layers for large vocabularies: one forward and backward pass of loss and layer, full, adaptive and PyTorch's.

    python bench/output_layer.py                   # V = 33,278 and 250,000
    python bench/output_layer.py --quick           # a smoke run

Ids have Zipf's frequencies. All layers of a row run in one process, in turns; medians. "memory" is the peak resident
size of passes with 4 times the rows over that of passes with the rows given, each in a process of its own: of a layer
that holds one block of logits it hardly grows (features and their gradient do).
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import rnncore
from rnncore import Generator, Tensor, nn
from rnncore.models.output_layer import default_cutoffs
from rnncore.nn import functional as F

Pass = Callable[[], None]


def zipf_ids(rows: int, words: int) -> np.ndarray[Any, Any]:
    """Ids in proportion to 1 / (id + 1)."""
    weights = 1.0 / np.arange(1, words + 1)
    return np.random.default_rng(1).choice(words, rows, p=weights / weights.sum())


def layer_of(name: str, words: int, width: int, cutoffs: list[int]) -> nn.Module:
    """The layer with fresh parameters."""
    if name == "full":
        return nn.Linear(width, words, generator=Generator(1))
    if name == "class":
        return nn.ClassSoftmax(width, words, generator=Generator(1))
    return nn.AdaptiveLogSoftmaxWithLoss(width, words, cutoffs, head_bias=True, generator=Generator(1))


def make(name: str, rows: int, words: int, width: int, cutoffs: list[int], threads: int) -> Pass:
    """One pass: the parameters are as if just updated, so that packed copies are made again."""
    ids = zipf_ids(rows, words)
    values = np.random.default_rng(2).normal(size=(rows, width)).astype(np.float32)
    if name == "torch":
        return make_torch(values, ids, words, threads)
    rnncore.set_num_threads(threads)
    x = Tensor(values, requires_grad=True)
    layer: Any = layer_of(name, words, width, cutoffs)

    def run() -> None:
        x.grad = None
        layer.zero_grad()
        with rnncore.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(1.0)
        if name == "full":
            F.linear_cross_entropy(x, layer.weight, layer.bias, ids).backward()
        else:
            layer.loss(x, ids).backward()

    return run


def make_torch(values: Any, ids: Any, words: int, threads: int) -> Pass:
    """PyTorch's linear layer and cross-entropy."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    x, targets = torch.tensor(values, requires_grad=True), torch.tensor(ids)
    layer = torch.nn.Linear(values.shape[1], words)

    def run() -> None:
        x.grad = None
        layer.zero_grad()
        torch.nn.functional.cross_entropy(layer(x), targets).backward()

    return run


def medians(passes: dict[str, Pass], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each pass, in turns: (quartile, median, quartile)."""
    times: dict[str, list[float]] = {name: [] for name in passes}
    for run in passes.values():
        run()
    for _ in range(repeats):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: [float(np.quantile(each, q)) for q in (0.25, 0.5, 0.75)] for name, each in times.items()}


def peak(name: str, arguments: dict[str, Any]) -> float:
    """The peak resident size, MiB, of a process that makes two passes."""
    code = json.dumps({"name": name, **arguments})
    done = subprocess.run([sys.executable, __file__, "--child", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def child(text: str) -> None:
    """Two passes in this process, then its peak."""
    run = make(**json.loads(text))
    run()
    run()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Prints a table of each vocabulary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[33_278, 250_000])
    parser.add_argument("--rows", type=int, default=700, help="T * N")
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cutoffs", type=int, nargs="+", help="of the adaptive softmax")
    parser.add_argument("--layers", nargs="+", default=["full", "adaptive", "class", "torch"])
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return
    if args.quick:
        args.vocabularies, args.rows, args.width, args.repeats = [500], 40, 16, 2
    for words in args.vocabularies:
        cutoffs = args.cutoffs or list(default_cutoffs("adaptive", words))
        arguments = {
            "rows": args.rows,
            "words": words,
            "width": args.width,
            "cutoffs": cutoffs,
            "threads": args.threads,
        }
        passes = {}
        for name in args.layers:
            try:
                passes[name] = make(name, **arguments)
            except ImportError:
                print(f"{name}: not installed")
        found = medians(passes, args.repeats)
        print(f"V = {words:,}, {args.rows} rows, width {args.width}, cutoffs {cutoffs}, {args.threads} threads; ms")
        for name, (low, middle, high) in found.items():
            ratio = found["full"][1] / middle if "full" in found else math.nan
            print(f"  {name:9} {middle:9.2f}  ({low:.2f} to {high:.2f})   full / this {ratio:6.2f}", end="")
            if args.no_memory:
                print()
                continue
            sizes = [peak(name, {**arguments, "rows": factor * args.rows}) for factor in (1, 4)]
            print(f"   memory {sizes[0]:5.0f} -> {sizes[1]:5.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
