#!/usr/bin/env python3
"""The cliff in the loss of a one-unit RNN, and what clipping does there (Pascanu, Mikolov & Bengio 2013, figure 6).

    python examples/gradients/cliff.py --out cliff.png

h_t = sigmoid(w h_(t-1) + b), h_0 = 0.5, loss (h_50 - 0.7)^2. The loss over (w, b) is drawn by one IndRNN layer: each
unit is a network of its own, with its w and its b. Plain gradient descent that meets the wall is thrown out of the
picture by a single step; with the gradient's norm clipped it goes on along the wall.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import rnncore
from rnncore import Tensor, nn, optim

STEPS, TARGET = 50, 0.7


def losses(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss and length of its gradient for each pair (w, b), both (K,): one unit of a layer each."""
    layer = nn.IndRNN(1, len(w), nonlinearity="sigmoid", dtype="float64")
    zeros = np.zeros((len(w), 1))
    with rnncore.no_grad():
        for name, value in (("weight_ih_l0", zeros), ("weight_u_l0", w), ("bias_ih_l0", b), ("bias_hh_l0", 0 * b)):
            if hasattr(layer, name):
                getattr(layer, name).copy_(Tensor(value))
    h = layer(Tensor(np.zeros((STEPS, 1, 1))), Tensor(np.full((1, 1, len(w)), 0.5)))[0][-1]
    loss = (h - TARGET) ** 2
    loss.sum().backward()
    slopes = np.hypot(layer.weight_u_l0.grad.numpy(), layer.bias_ih_l0.grad.numpy())
    return loss.detach().numpy()[0], slopes


def descend(start: tuple[float, float], lr: float, clip: float, updates: int) -> np.ndarray:
    """The path (updates + 1, 2) of gradient descent on (w, b); clip 0: none."""
    rnn = nn.RNN(1, 1, nonlinearity="sigmoid", dtype="float64")
    with rnncore.no_grad():
        for parameter, value in (
            (rnn.weight_ih_l0, 0.0), (rnn.weight_hh_l0, start[0]), (rnn.bias_ih_l0, start[1]), (rnn.bias_hh_l0, 0.0)
        ):  # fmt: skip
            parameter.fill_(value)
    optimizer = optim.SGD([rnn.weight_hh_l0, rnn.bias_ih_l0], lr=lr)
    path = [start]
    for _ in range(updates):
        optimizer.zero_grad()
        h = rnn(Tensor(np.zeros((STEPS, 1, 1))), Tensor(np.full((1, 1, 1), 0.5)))[0][-1]
        ((h - TARGET) ** 2).sum().backward()
        optimizer.step(clip_norm=clip)
        path.append((rnn.weight_hh_l0.item(), rnn.bias_ih_l0.item()))
    return np.array(path)


def main() -> None:
    """Draws the surface and two descents on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=int, default=160, help="points along each side")
    parser.add_argument("--lr", type=float, default=0.3)
    parser.add_argument("--clip", type=float, default=0.3)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--quick", action="store_true", help="for the tests: a coarse grid")
    arguments = parser.parse_args()
    size = 40 if arguments.quick else arguments.grid
    w, b = np.meshgrid(np.linspace(3.5, 7.0, size), np.linspace(-3.5, -1.5, size), indexing="ij")
    surface, slopes = losses(w.ravel(), b.ravel())
    print(f"loss {surface.min():.4f} to {surface.max():.4f}; its gradient: median {np.median(slopes):.2g}, "
          f"largest {slopes.max():.3g}")  # fmt: skip
    paths = {}
    for name, clip in (("plain", 0.0), (f"clipped at {arguments.clip:g}", arguments.clip)):
        path = paths[name] = descend((5.8, -2.55), arguments.lr, clip, arguments.updates)
        jump = np.linalg.norm(np.diff(path, axis=0), axis=1).max()
        final = losses(path[-1:, 0], path[-1:, 1])[0][0]
        print(f"{name:15} largest step {jump:8.3f}, ends at w {path[-1, 0]:.2f}, b {path[-1, 1]:.2f}, loss {final:.4f}")
    if arguments.out:
        draw(w, b, surface.reshape(w.shape), paths, arguments.out)


def draw(w: np.ndarray, b: np.ndarray, surface: np.ndarray, paths: dict[str, np.ndarray], out: Path) -> None:
    """The surface in three dimensions, and from above with the descents."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    solid = figure.add_subplot(1, 2, 1, projection="3d")
    solid.plot_surface(w, b, surface, cmap="viridis", rcount=80, ccount=80)
    solid.set(xlabel="w", ylabel="b", zlabel="loss", title="Loss of a one-unit RNN after 50 steps")
    solid.view_init(32, -50)
    flat = figure.add_subplot(1, 2, 2)
    flat.pcolormesh(w, b, surface, cmap="viridis", shading="nearest")
    for (name, path), colour in zip(paths.items(), ("#ff5a36", "white"), strict=True):
        flat.plot(path[:, 0], path[:, 1], marker=".", markersize=4, linewidth=1, color=colour, label=name)
    flat.set(xlim=(w.min(), w.max()), ylim=(b.min(), b.max()), xlabel="w", ylabel="b", title="Gradient descent on it")
    flat.legend(facecolor="#444", labelcolor="white")
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
