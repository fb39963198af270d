#!/usr/bin/env python3
"""Digits read pixel by pixel: 64 steps (8 x 8, bundled), or MNIST's 784, by an IRNN, a tanh RNN and an LSTM.

    python examples/pixel_digits.py
    python examples/pixel_digits.py --mnist FOLDER --seconds 480 --libraries rnncore torch --picture curves.png

One number enters at each step, the top row of pixels first; the class is told after the last (Le, Jaitly & Hinton
2015, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", section 4.2). The IRNN is a ReLU
network whose recurrent matrix begins as the identity.

FOLDER holds MNIST's four files (train-images-idx3-ubyte.gz and so on). The budget of a network is seconds of processor
time on one thread, so that other work on the machine does not count; scoring is not in it. The learning rate falls with
the budget, as half a cosine. PyTorch trains the same network from the same initial values on the same batches, with the
same budget. Curves are kept in a file (--curves), so that networks and libraries can be run one at a time.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rnncore
from rnncore import Tensor, nn, no_grad, optim
from rnncore.data import digits8x8
from rnncore.nn import functional as F

CELLS = {"IRNN": "rnn-relu", "tanh RNN": "rnn-tanh", "LSTM": "lstm"}
RATES, RATES_784 = ({"IRNN": irnn, "tanh RNN": irnn, "LSTM": 2e-3} for irnn in (1e-3, 5e-5))
Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]  # pixels (R, P) in [0, 1], classes (R,)
Update = Callable[[Any, Any, float], None]  # pixels, classes, learning rate


def start_values(name: str, steps: int) -> dict[str, Any]:
    """How a network begins: an IRNN with the identity, an LSTM with gates that remember for up to all steps."""
    return {"IRNN": {"init": "identity"}, "LSTM": {"chrono": float(steps)}}.get(name, {})


class PixelReader(nn.Module):
    """A recurrent layer over pixels, and a linear layer on its last state."""

    def __init__(self, name: str, hidden: int, steps: int, generator: rnncore.Generator) -> None:
        super().__init__()
        layer = nn.Layer(CELLS[name], hidden)
        self.rnn = nn.Recurrent(1, [layer], generator=generator, **start_values(name, steps))
        if name == "IRNN":  # the paper's 0.001 takes far longer to leave
            nn.init.normal_(self.rnn.weight_ih_l0.detach(), std=0.1, generator=generator)
        self.head = nn.Linear(hidden, 10, generator=generator)

    def forward(self, pixels: np.ndarray[Any, Any]) -> Tensor:
        """Pixels (N, P) -> logits (N, 10)."""
        _, state = self.rnn(Tensor(np.ascontiguousarray(pixels.T[:, :, None])))
        return self.head(state["h_l0"])


def small_digits() -> tuple[Digits, Digits]:
    """1,797 digits of 8 x 8 pixels from 0 to 16 (UCI optical digits); every fifth is for testing."""
    pixels, classes = digits8x8()
    test = np.arange(len(pixels)) % 5 == 0
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


def with_rnncore(model: nn.Module, clip: float) -> tuple[Update, Callable[..., Any]]:
    """An update, and the logits."""
    optimizer = optim.Adam(model.parameters())

    def update(pixels: Any, classes: Any, lr: float) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(pixels), classes).backward()
        optimizer.lr = lr
        optimizer.step(clip_norm=clip)

    def logits(pixels: Any) -> Any:
        with no_grad():
            return model(pixels).numpy()

    return update, logits


def with_torch(name: str, start: PixelReader, clip: float) -> tuple[Update, Callable[..., Any]]:
    """The same by PyTorch, from the same initial values."""
    import torch

    torch.set_num_threads(1)
    hidden = start.head.weight.shape[1]
    if name == "LSTM":
        rnn: Any = torch.nn.LSTM(1, hidden)
    else:
        rnn = torch.nn.RNN(1, hidden, nonlinearity=CELLS[name].removeprefix("rnn-"))
    model = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(hidden, 10)})
    model.load_state_dict({key: torch.tensor(value.numpy().copy()) for key, value in start.state_dict().items()})
    optimizer = torch.optim.Adam(model.parameters())

    def run(pixels: Any) -> Any:
        output, _ = model["rnn"](torch.from_numpy(np.ascontiguousarray(pixels.T[:, :, None])))
        return model["head"](output[-1])

    def update(pixels: Any, classes: Any, lr: float) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(run(pixels), torch.from_numpy(classes)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.param_groups[0]["lr"] = lr
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
    title: str, update: Update, logits: Callable[..., Any], data: tuple[Digits, Digits], lr: float, args: Any
) -> list[dict[str, Any]]:
    """Train within the budget, print the curve and return it."""
    (pixels, classes), test = data
    spent, updates, due = 0.0, 0, args.seconds / args.points
    curve: list[dict[str, Any]] = []
    rng = np.random.default_rng(args.seed)
    order = rng.permutation(len(pixels))
    while True:
        at = updates * args.batch % (len(pixels) // args.batch * args.batch)
        if at == 0:
            order = rng.permutation(len(pixels))
        chosen = order[at : at + args.batch]
        done = max(spent / args.seconds, updates / args.updates if args.updates else 0.0)
        seen = pixels[chosen] + args.noise * rng.standard_normal((args.batch, pixels.shape[1]), np.float32)
        began = time.process_time()
        update(seen, classes[chosen], lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2)
        spent, updates = spent + time.process_time() - began, updates + 1
        over = spent >= args.seconds or (args.updates is not None and updates >= args.updates)
        if spent >= due or over:
            epochs = updates * args.batch / len(pixels)
            right = accuracy(logits, test)
            curve.append({"network": title, "seconds": spent, "updates": updates, "epochs": epochs, "accuracy": right})
            print(
                f"{title:20} {spent:6.0f} s  {updates:6} updates  {epochs:6.2f} epochs  {100 * right:.2f}%", flush=True
            )
            due += args.seconds / args.points
        if over:
            return curve


def keep(path: Path, curve: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Put a curve into the file, in place of one of that name; all curves of the file."""
    curves = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    curves[curve[0]["network"]] = curve
    path.write_text(json.dumps(curves, indent=1), encoding="utf-8")
    return curves


def draw(curves: dict[str, list[dict[str, Any]]], title: str, path: Path) -> None:
    """Accuracy against processor time, PyTorch's dashed in the same colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    colours = {name: f"C{number}" for number, name in enumerate(CELLS)}
    for name, points in sorted(curves.items()):
        network, _, library = name.partition(", ")
        style = "--" if library else "-"
        seconds = [0.0, *(point["seconds"] for point in points)]
        right = [10.0, *(100 * point["accuracy"] for point in points)]  # ten classes: a guess, to begin with
        axes.plot(seconds, right, style, marker=".", color=colours[network], label=name)
    axes.set(xlabel="processor time of training [s]", ylabel="right of the test images [%]", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read, train, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, metavar="FOLDER", help="read MNIST's images, 784 steps")
    parser.add_argument("--networks", nargs="+", default=["IRNN", "LSTM"], choices=list(CELLS))
    parser.add_argument("--libraries", nargs="+", default=["rnncore"], choices=["rnncore", "torch"])
    parser.add_argument("--seconds", type=float, default=60, help="processor time of each network")
    parser.add_argument("--updates", type=int, help="stop after so many updates")
    parser.add_argument("--points", type=int, default=6, help="of each curve")
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, help="at the beginning; default: 0.002; IRNN 0.001, MNIST 0.00005")
    parser.add_argument("--clip", type=float, help="largest norm of the gradient; default: 0.1; MNIST: 1")
    parser.add_argument("--noise", type=float, help="deviation of what is added to pixels; default: 0.3; MNIST: 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--curves", type=Path, help="JSON: keep the curves here, beside those that it has already")
    parser.add_argument("--picture", type=Path, help="draw the curves, those of --curves too")
    parser.add_argument("--quick", action="store_true", help="a small network and few updates")
    args = parser.parse_args()
    if args.quick:
        args.hidden, args.seconds, args.updates, args.lr = 32, 10.0, 400, 4e-3
    args.noise = (0.0 if args.mnist else 0.3) if args.noise is None else args.noise
    args.clip = (1.0 if args.mnist else 0.1) if args.clip is None else args.clip
    rnncore.set_num_threads(1)
    data = small_digits() if args.mnist is None else mnist(args.mnist)
    mean, deviation = data[0][0].mean(), data[0][0].std()
    data = tuple(((pixels - mean) / deviation, classes) for pixels, classes in data)
    steps = data[0][0].shape[1]
    print(f"{len(data[0][0]):,} digits to learn, {len(data[1][0]):,} to test, {steps} steps each")
    curves: dict[str, list[dict[str, Any]]] = {}
    for name in args.networks:
        lr = args.lr or (RATES[name] if args.mnist is None else RATES_784[name])
        for library in args.libraries:
            model = PixelReader(name, args.hidden, steps, rnncore.Generator(args.seed))
            both = with_rnncore(model, args.clip) if library == "rnncore" else with_torch(name, model, args.clip)
            title = name if library == "rnncore" else f"{name}, PyTorch"
            curves[title] = train(title, *both, data, lr, args)
            if args.curves is not None:
                curves |= keep(args.curves, curves[title])
    if args.picture is not None:
        draw(curves, f"{steps} pixels, one a step; {args.hidden} units, batches of {args.batch}", args.picture)


if __name__ == "__main__":
    main()
