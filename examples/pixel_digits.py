#!/usr/bin/env python3
"""Digits read pixel by pixel: 64 steps (8 x 8, bundled), or MNIST's 784, by an IRNN, a tanh RNN and an LSTM.

    python examples/pixel_digits.py
    python examples/pixel_digits.py --mnist FOLDER --seconds 180 --torch

One number enters at each step, the top row of pixels first; the class is told after the last (Le, Jaitly & Hinton
2015, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", section 4.2). The IRNN is a ReLU
network whose recurrent matrix begins as the identity.

FOLDER holds MNIST's four files (train-images-idx3-ubyte.gz and so on). The budget of a network is seconds of processor
time on one thread, so that other work on the machine does not count; scoring is not in it. With --torch PyTorch trains
the same network from the same initial values on the same batches, with the same budget.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rnncore
from rnncore import Tensor, nn, no_grad, optim
from rnncore.nn import functional as F

CELLS = {"IRNN": "rnn-relu", "tanh RNN": "rnn-tanh", "LSTM": "lstm"}
INITS = {"IRNN": {"init": "identity"}, "tanh RNN": {}, "LSTM": {"forget_bias": 1.0}}
Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]  # pixels (R, P) in [0, 1], classes (R,)


class PixelReader(nn.Module):
    """A recurrent layer over pixels, and a linear layer on its last state."""

    def __init__(self, name: str, hidden: int, generator: rnncore.Generator) -> None:
        super().__init__()
        layer = nn.Layer(CELLS[name], hidden)
        self.rnn = nn.Recurrent(1, [layer], generator=generator, **INITS[name])  # type: ignore[arg-type]
        self.head = nn.Linear(hidden, 10, generator=generator)

    def forward(self, pixels: np.ndarray[Any, Any]) -> Tensor:
        """Pixels (N, P) -> logits (N, 10)."""
        _, state = self.rnn(Tensor(np.ascontiguousarray(pixels.T[:, :, None])))
        return self.head(state["h_l0"])


def small_digits() -> tuple[Digits, Digits]:
    """1,797 digits of 8 x 8 pixels from 0 to 16 (UCI optical digits); every fifth is for testing."""
    with gzip.open(Path(__file__).parent / "data" / "digits8x8.csv.gz") as file:
        table = np.loadtxt(file, delimiter=",")
    pixels, classes = (table[:, :64] / 16).astype(np.float32), table[:, 64].astype(np.int64)
    test = np.arange(len(table)) % 5 == 0
    return (pixels[~test], classes[~test]), (pixels[test], classes[test])


def mnist(folder: Path) -> tuple[Digits, Digits]:
    """The training and the test images."""

    def read(part: str) -> Digits:
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
            classes = np.frombuffer(file.read(), np.uint8, offset=8)
        return (pixels / 255).astype(np.float32), classes.astype(np.int64)

    return read("train"), read("t10k")


def with_rnncore(
    name: str, hidden: int, lr: float, seed: int
) -> tuple[Callable[..., None], Callable[..., Any], nn.Module]:
    """An update, the logits, and the network."""
    model = PixelReader(name, hidden, rnncore.Generator(seed))
    optimizer = optim.Adam(model.parameters(), lr=lr)

    def update(pixels: Any, classes: Any) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(pixels), classes).backward()
        optimizer.step(clip_norm=1.0)

    def logits(pixels: Any) -> Any:
        with no_grad():
            return model(pixels).numpy()

    return update, logits, model


def with_torch(name: str, hidden: int, lr: float, start: nn.Module) -> tuple[Callable[..., None], Callable[..., Any]]:
    """The same by PyTorch, from the same initial values."""
    import torch

    torch.set_num_threads(1)
    if name == "LSTM":
        rnn: Any = torch.nn.LSTM(1, hidden)
    else:
        rnn = torch.nn.RNN(1, hidden, nonlinearity=CELLS[name].removeprefix("rnn-"))
    model = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(hidden, 10)})
    model.load_state_dict({key: torch.tensor(value.numpy().copy()) for key, value in start.state_dict().items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def run(pixels: Any) -> Any:
        output, _ = model["rnn"](torch.from_numpy(np.ascontiguousarray(pixels.T[:, :, None])))
        return model["head"](output[-1])

    def update(pixels: Any, classes: Any) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(run(pixels), torch.from_numpy(classes)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def logits(pixels: Any) -> Any:
        with torch.no_grad():
            return run(pixels).numpy()

    return update, logits


def accuracy(logits: Callable[..., Any], digits: Digits) -> float:
    """The share that is right."""
    pixels, classes = digits
    right = [
        (logits(pixels[at : at + 500]).argmax(axis=1) == classes[at : at + 500]).sum()
        for at in range(0, len(pixels), 500)
    ]
    return float(sum(right) / len(pixels))


def train(
    title: str, update: Callable[..., None], logits: Callable[..., Any], data: tuple[Digits, Digits], args: Any
) -> float:
    """Train within the budget, and print the curve; the last accuracy."""
    (pixels, classes), test = data
    spent, updates, best, due = 0.0, 0, 0.0, args.seconds / 6
    rng = np.random.default_rng(args.seed)
    order = rng.permutation(len(pixels))
    while True:
        at = updates * args.batch % (len(pixels) // args.batch * args.batch)
        if at == 0:
            order = rng.permutation(len(pixels))
        chosen = order[at : at + args.batch]
        began = time.process_time()
        update(pixels[chosen], classes[chosen])
        spent, updates = spent + time.process_time() - began, updates + 1
        over = spent >= args.seconds or (args.updates is not None and updates >= args.updates)
        if spent >= due or over:
            best = accuracy(logits, test)
            epochs = updates * args.batch / len(pixels)
            print(
                f"{title:20} {spent:6.0f} s  {updates:6} updates  {epochs:6.2f} epochs  {100 * best:.2f}%", flush=True
            )
            due += args.seconds / 6
        if over:
            return best


def main() -> None:
    """Read, train, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, metavar="FOLDER", help="read MNIST's images, 784 steps")
    parser.add_argument("--networks", nargs="+", default=["IRNN", "LSTM"], choices=list(CELLS))
    parser.add_argument("--seconds", type=float, default=60, help="processor time of each network")
    parser.add_argument("--updates", type=int, help="stop after so many updates")
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--batch", type=int, help="default: 32; MNIST: 100")
    parser.add_argument("--lr", type=float, help="default: 0.002, IRNN 0.0005; MNIST half of that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--torch", action="store_true", help="PyTorch too, with the same budget")
    parser.add_argument("--quick", action="store_true", help="a small network and few updates")
    args = parser.parse_args()
    if args.quick:
        args.hidden, args.seconds, args.updates = 32, 10.0, 150
    args.batch = args.batch or (100 if args.mnist else 32)
    rnncore.set_num_threads(1)
    data = small_digits() if args.mnist is None else mnist(args.mnist)
    mean, deviation = data[0][0].mean(), data[0][0].std()
    data = tuple(((pixels - mean) / deviation, classes) for pixels, classes in data)
    print(f"{len(data[0][0]):,} digits to learn, {len(data[1][0]):,} to test, {data[0][0].shape[1]} steps each")
    for name in args.networks:
        lr = args.lr or (5e-4 if name == "IRNN" else 2e-3) / (1 if args.mnist is None else 2)
        update, logits, model = with_rnncore(name, args.hidden, lr, args.seed)
        initial = with_torch(name, args.hidden, lr, model) if args.torch else None
        train(f"{name}", update, logits, data, args)
        if initial is not None:
            train(f"{name}, PyTorch", *initial, data, args)


if __name__ == "__main__":
    main()
