#!/usr/bin/env python3
"""Makes the golden files beside it with PyTorch (float64): outputs and all gradients, so that tests need no torch.

    python tests/golden/generate.py            # needs torch and safetensors; writes *.safetensors here
    python tests/golden/generate.py --check    # compares with what is there instead (to 1e-13)

recurrent_<case>.safetensors: metadata "case" (JSON: cell, sizes, options); tensors
    x, h_0, c_0, lengths, reset_mask          inputs (what a case does not have is left out)
    dy, dh_n, dc_n                            the gradient that is fed in: L = <y, dy> + <h_n, dh_n> + <c_n, dc_n>
    parameter.<name>                          in PyTorch's names
    y, h_n, c_n                               results
    grad.x, grad.h_0, grad.c_0, grad.<name>   dL/d each
optimizers.safetensors: <case>.start, <case>.gradient.<step>, <case>.after.<step>; metadata <case> = JSON of options.
losses.safetensors: see `losses`.

Where torch.nn has the cell it is the reference; else (logistic Elman, GRU with the reset gate before the product,
resets in mid-sequence) the equations are written out below and differentiated by PyTorch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
GATES = {"rnn-tanh": 1, "rnn-relu": 1, "rnn-sigmoid": 1, "lstm": 4, "gru": 3, "gru-reset-before": 3}
Tensors = dict[str, Tensor]
State = tuple[Tensor, Tensor]  # h, c (c unused where the cell has none)


@dataclass(frozen=True)
class Case:
    """One recurrent case; odd sizes, so that no vector width divides them."""

    name: str
    cell: str
    T: int = 5
    N: int = 3
    I: int = 4  # noqa: E741
    H: int = 7
    layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    lengths: tuple[int, ...] = ()
    resets: tuple[tuple[int, int], ...] = ()  # (t, n)
    proj: int = 0  # features of h where it is a projection

    @property
    def width(self) -> int:
        """Features of h."""
        return self.proj or self.H

    @property
    def facts(self) -> str:
        """The file's metadata."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "proj" or value})


CASES = (
    Case("rnn_tanh", "rnn-tanh", layers=2),
    Case("rnn_relu", "rnn-relu", bias=False),
    Case("rnn_sigmoid", "rnn-sigmoid", layers=2),
    Case("lstm", "lstm", layers=2),
    Case("lstm_no_bias", "lstm", bias=False),
    Case("lstm_one", "lstm", T=1, N=1, I=1, H=1),
    Case("lstm_bidirectional", "lstm", layers=2, bidirectional=True, H=5),
    Case("lstm_lengths", "lstm", layers=2, lengths=(2, 5, 1)),
    Case("lstm_bidirectional_lengths", "lstm", bidirectional=True, lengths=(2, 5, 1), H=5),
    Case("lstm_resets", "lstm", layers=2, resets=((2, 0), (4, 0), (1, 2))),
    Case("gru", "gru", layers=2),
    Case("gru_bidirectional_lengths", "gru", bidirectional=True, lengths=(5, 3, 4), H=5),
    Case("gru_resets", "gru", resets=((3, 1),)),
    Case("gru_reset_before", "gru-reset-before", layers=2),
    Case("gru_reset_before_no_bias", "gru-reset-before", bias=False),
    Case("gru_reset_before_resets", "gru-reset-before", resets=((3, 1), (0, 2))),
    Case("lstm_projected", "lstm", layers=2, proj=3),
    Case("lstm_projected_bidirectional_lengths", "lstm", layers=2, bidirectional=True, lengths=(2, 5, 1), H=5, proj=2),
    Case("lstm_projected_resets", "lstm", bias=False, resets=((2, 0), (4, 0), (1, 2)), proj=4),
)


def parameter_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """PyTorch's names, order and shapes."""
    directions = 2 if case.bidirectional else 1
    rows, shapes = GATES[case.cell] * case.H, {}
    for layer in range(case.layers):
        inputs = case.I if layer == 0 else directions * case.width
        for suffix in ("", "_reverse")[:directions]:
            shapes[f"weight_ih_l{layer}{suffix}"] = (rows, inputs)
            shapes[f"weight_hh_l{layer}{suffix}"] = (rows, case.width)
            if case.bias:
                shapes[f"bias_ih_l{layer}{suffix}"] = (rows,)
                shapes[f"bias_hh_l{layer}{suffix}"] = (rows,)
            if case.proj:
                shapes[f"weight_hr_l{layer}{suffix}"] = (case.proj, case.H)
    return shapes


def step(cell: str, x: Tensor, state: State, w: list[Tensor]) -> State:
    """One step by the equations of docs/cells.md; w: weight_ih, weight_hh, bias_ih, bias_hh [, weight_hr]."""
    h, c = state
    a, b = x @ w[0].T + w[2], h @ w[1].T + w[3]
    if cell.startswith("rnn"):
        squash = {"rnn-tanh": torch.tanh, "rnn-relu": torch.relu, "rnn-sigmoid": torch.sigmoid}[cell]
        return squash(a + b), c
    if cell == "lstm":
        i, f, g, o = (a + b).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        m = torch.sigmoid(o) * torch.tanh(c)
        return (m @ w[4].T if len(w) > 4 else m), c
    (a_r, a_z, a_n), (b_r, b_z, b_n) = a.chunk(3, 1), b.chunk(3, 1)
    r, z = torch.sigmoid(a_r + b_r), torch.sigmoid(a_z + b_z)
    if cell == "gru-reset-before":
        b_n = (r * h) @ w[1].chunk(3, 0)[2].T + w[3].chunk(3, 0)[2]
        return (1 - z) * torch.tanh(a_n + b_n) + z * h, c
    return (1 - z) * torch.tanh(a_n + r * b_n) + z * h, c


def by_equations(case: Case, t: Tensors) -> Tensors:
    """y, h_n, c_n by a loop over the steps, with resets to the initial state; one direction, no lengths."""
    below, h_n, c_n = t["x"], [], []
    zero = torch.zeros(GATES[case.cell] * case.H, dtype=torch.float64)
    for layer in range(case.layers):
        names = (f"{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        weights = [t.get(f"parameter.{name}", zero) for name in names]
        weights += [t[f"parameter.weight_hr_l{layer}"]] if case.proj else []
        start = (t["h_0"][layer], t["c_0"][layer] if "c_0" in t else t["h_0"][layer])
        state, outputs = start, []
        for time in range(case.T):
            if case.resets:
                mask = t["reset_mask"][time].bool()[:, None]
                state = (torch.where(mask, start[0], state[0]), torch.where(mask, start[1], state[1]))
            state = step(case.cell, below[time], state, weights)
            outputs.append(state[0])
        below = torch.stack(outputs)
        h_n.append(state[0])
        c_n.append(state[1])
    results = {"y": below, "h_n": torch.stack(h_n)}
    return {**results, "c_n": torch.stack(c_n)} if case.cell == "lstm" else results


def by_torch(case: Case, t: Tensors) -> Tensors:
    """y, h_n, c_n by torch.nn, ragged batches by its packed sequences."""
    options = {"bias": case.bias, "bidirectional": case.bidirectional, "dtype": torch.float64}
    if case.cell.startswith("rnn"):
        module: nn.RNNBase = nn.RNN(case.I, case.H, case.layers, nonlinearity=case.cell[4:], **options)
    else:
        options |= {"proj_size": case.proj} if case.proj else {}
        module = {"lstm": nn.LSTM, "gru": nn.GRU}[case.cell](case.I, case.H, case.layers, **options)
    values = {name: t[f"parameter.{name}"] for name, _ in module.named_parameters()}
    state = (t["h_0"], t["c_0"]) if case.cell == "lstm" else t["h_0"]
    x = t["x"]
    if case.lengths:
        x = nn.utils.rnn.pack_padded_sequence(x, t["lengths"], enforce_sorted=False)
    y, last = torch.func.functional_call(module, values, (x, state))
    if case.lengths:
        y, _ = nn.utils.rnn.pad_packed_sequence(y, total_length=case.T)
    return {"y": y, "h_n": last[0], "c_n": last[1]} if case.cell == "lstm" else {"y": y, "h_n": last}


def recurrent(case: Case) -> Tensors:
    """All tensors of a case."""
    generator = torch.Generator().manual_seed(20 + CASES.index(case))

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    directions = 2 if case.bidirectional else 1
    slots = case.layers * directions
    states = ("h", "c") if case.cell == "lstm" else ("h",)
    t: Tensors = {"x": draw(case.T, case.N, case.I)}
    t |= {f"{kind}_0": draw(slots, case.N, case.width if kind == "h" else case.H) for kind in states}
    t |= {f"parameter.{name}": 0.5 * draw(*shape) for name, shape in parameter_shapes(case).items()}
    leaves = list(t)
    if case.lengths:
        t["lengths"] = torch.tensor(case.lengths)
    if case.resets:
        t["reset_mask"] = torch.zeros(case.T, case.N, dtype=torch.uint8)
        for time, row in case.resets:
            t["reset_mask"][time, row] = 1
    for name in leaves:
        t[name].requires_grad_()

    in_torch = case.cell in ("lstm", "gru", "rnn-tanh", "rnn-relu") and not case.resets
    results = by_torch(case, t) if in_torch else by_equations(case, t)
    if in_torch and not case.lengths and not case.bidirectional:  # the equations above are tested here
        for name, value in by_equations(case, t).items():
            torch.testing.assert_close(value, results[name], rtol=1e-12, atol=1e-12)
    feeds = {f"d{name}": draw(*value.shape) for name, value in results.items()}
    loss = sum((value * feeds[f"d{name}"]).sum() for name, value in results.items())
    gradients = torch.autograd.grad(loss, [t[name] for name in leaves])
    t |= feeds | results
    t |= {f"grad.{name.removeprefix('parameter.')}": g for name, g in zip(leaves, gradients, strict=True)}
    return t


OPTIMIZERS: dict[str, dict[str, float | bool | str]] = {
    "sgd": {"kind": "SGD", "lr": 0.1},
    "sgd_momentum": {"kind": "SGD", "lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
    "sgd_nesterov": {"kind": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    "adam": {"kind": "Adam", "lr": 0.02, "weight_decay": 0.01},
    "adamw": {"kind": "AdamW", "lr": 0.02, "weight_decay": 0.1},
    "rmsprop": {"kind": "RMSprop", "lr": 0.01},
    "rmsprop_centered": {"kind": "RMSprop", "lr": 0.01, "centered": True, "momentum": 0.5, "weight_decay": 0.01},
    "asgd": {"kind": "ASGD", "lr": 0.1, "t0": 2, "lambd": 0.01},
}


def optimizers(steps: int = 5) -> tuple[Tensors, dict[str, str]]:
    """A parameter's values after each of a few updates with given gradients, for each optimiser."""
    torch.set_default_dtype(torch.float64)  # or ASGD keeps its step size rounded to float32
    generator = torch.Generator().manual_seed(7)
    tensors: Tensors = {}
    for name, options in OPTIMIZERS.items():
        kind, settings = str(options["kind"]), {key: value for key, value in options.items() if key != "kind"}
        parameter = torch.randn(67, dtype=torch.float64, generator=generator).requires_grad_()
        tensors[f"{name}.start"] = parameter.detach().clone()
        optimizer = getattr(torch.optim, kind)([parameter], **settings)
        for number in range(steps):
            parameter.grad = torch.randn(67, dtype=torch.float64, generator=generator)
            tensors[f"{name}.gradient.{number}"] = parameter.grad.clone()
            optimizer.step()
            tensors[f"{name}.after.{number}"] = parameter.detach().clone()
    torch.set_default_dtype(torch.float32)
    return tensors, {name: json.dumps(options) for name, options in OPTIMIZERS.items()}


LOSSES: dict[str, dict[str, float | str]] = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "smoothed": {"label_smoothing": 0.1},
    "ignoring": {"ignore_index": 3},
    "ignoring_smoothed": {"ignore_index": 3, "label_smoothing": 0.2, "reduction": "sum"},
}


def losses() -> tuple[Tensors, dict[str, str]]:
    """logits (11, 9), targets (11,); <case>.loss and <case>.grad (of the logits), for each set of options."""
    generator = torch.Generator().manual_seed(8)
    logits = (3 * torch.randn(11, 9, dtype=torch.float64, generator=generator)).requires_grad_()
    targets = torch.randint(9, (11,), generator=generator)
    targets[2] = 3
    tensors: Tensors = {"logits": logits, "targets": targets}
    for name, options in LOSSES.items():
        loss = nn.functional.cross_entropy(logits, targets, **options)
        tensors[f"{name}.loss"] = loss.reshape(1)
        (tensors[f"{name}.grad"],) = torch.autograd.grad(loss, [logits])
    return tensors, {name: json.dumps(options) for name, options in LOSSES.items()}


def save(path: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Writes one golden file."""
    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path, metadata)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def check(path: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Exits unless the file holds these tensors (to rounding) and this metadata."""
    with safe_open(path, "pt") as file:
        if set(file.keys()) != set(tensors) or file.metadata() != metadata:
            sys.exit(f"{path.name}: other tensors or metadata than generate.py makes")
        for name, value in tensors.items():
            torch.testing.assert_close(file.get_tensor(name), value.detach(), rtol=1e-13, atol=1e-13, msg=path.name)
    print(f"{path.name}: as made now")


def main() -> None:
    """Writes or checks all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    handle: Callable[[Path, Tensors, dict[str, str]], None] = check if parser.parse_args().check else save
    for case in CASES:
        handle(HERE / f"recurrent_{case.name}.safetensors", recurrent(case), {"case": case.facts})
    handle(HERE / "optimizers.safetensors", *optimizers())
    handle(HERE / "losses.safetensors", *losses())


if __name__ == "__main__":
    main()
