"""The one table of recurrent cases: parity, gradients and timing (bench/) run over it.

Tolerances are largest absolute difference over largest absolute value, per array: float64 1e-10 and float32 1e-5, as
the project promises. No case has a looser one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import rnncore
from rnncore import nn

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
CELLS = ("rnn-tanh", "rnn-relu", "rnn-sigmoid", "lstm", "gru", "gru-reset-before")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class RecurrentCase:
    """A stack and its input. Sizes are odd on purpose: no vector width divides them."""

    cell: str
    variant: str = "plain"
    layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    batch_first: bool = False
    state: bool = False
    lengths: tuple[int, ...] | None = None
    hidden: tuple[int, ...] | None = None  # a size per layer, if not all H
    proj: int = 0  # features of h where it is a projection
    T: int = 5
    N: int = 3
    I: int = 4  # noqa: E741
    H: int = 7

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.variant}"

    @property
    def sizes(self) -> list[int]:
        return list(self.hidden) if self.hidden else [self.H] * self.layers

    @property
    def in_torch(self) -> bool:
        """Whether torch.nn has this network (else the reference is composed from torch operations)."""
        return self.cell in ("rnn-tanh", "rnn-relu", "lstm", "gru") and self.hidden is None


def _variants(cell: str) -> list[RecurrentCase]:
    base = RecurrentCase(cell)
    projected = replace(base, variant="projected", proj=3)
    more = [
        projected,
        replace(projected, variant="projected-nobias", bias=False, state=True),
        replace(projected, variant="projected-layers2-batchfirst", layers=2, batch_first=True, state=True),
        replace(projected, variant="projected-layers2-bidirectional", layers=2, bidirectional=True, state=True),
        replace(
            projected, variant="projected-bidirectional-lengths", bidirectional=True, lengths=(4, 5, 1), state=True
        ),
        replace(projected, variant="projected-sizes", layers=2, hidden=(6, 4), state=True),
        replace(projected, variant="projected-one-step", T=1, N=1, state=True),
        replace(projected, variant="projected-wide", T=9, N=17, I=19, H=37, proj=21, layers=2),
    ]
    return [
        base,
        *(more if cell == "lstm" else []),
        replace(base, variant="state", state=True),
        replace(base, variant="nobias", bias=False, state=True),
        replace(base, variant="layers2", layers=2, state=True),
        replace(base, variant="layers3-batchfirst", layers=3, batch_first=True, state=True),
        replace(base, variant="bidirectional", bidirectional=True, state=True),
        replace(base, variant="layers2-bidirectional-nobias", layers=2, bidirectional=True, bias=False),
        replace(base, variant="lengths", lengths=(5, 2, 3), state=True),
        replace(base, variant="layers2-bidirectional-lengths", layers=2, bidirectional=True, lengths=(4, 5, 1)),
        replace(base, variant="sizes", layers=2, hidden=(6, 3), state=True),
        replace(base, variant="one-step", T=1, N=1, state=True),
        replace(base, variant="wide", T=9, N=17, I=19, H=33, layers=2),
    ]


CASES = [case for cell in CELLS for case in _variants(cell)]


def spec_of(case: RecurrentCase) -> rnncore.RecurrentSpec:
    return rnncore.RecurrentSpec(
        case.cell, case.I, case.sizes, bias=case.bias, bidirectional=case.bidirectional, proj_size=case.proj
    )


def make_arrays(case: RecurrentCase, seed: int = 0) -> Arrays:
    """float64 input, states, parameters ("p.NAME") and the weights of the scalar loss ("w.NAME")."""
    rng = np.random.Generator(np.random.PCG64([seed, *case.name.encode()]))
    spec = spec_of(case)
    lead = (case.N, case.T) if case.batch_first else (case.T, case.N)
    arrays = {"x": rng.standard_normal((*lead, case.I))}
    for name, shape, hidden in spec.parameters():
        arrays[f"p.{name}"] = rng.uniform(-1, 1, shape) * (1.5 / np.sqrt(hidden))
    arrays["w.output"] = rng.standard_normal((*lead, spec.output_size))
    directions = 2 if case.bidirectional else 1
    for kind in ("h", "c") if case.cell == "lstm" else ("h",):
        for i, hidden in enumerate(size for size in case.sizes for _ in range(directions)):
            width = case.proj if case.proj and kind == "h" else hidden
            if case.state:
                arrays[f"{kind}_0.{i}"] = rng.uniform(-1, 1, (case.N, width))
            arrays[f"w.{kind}_n.{i}"] = rng.standard_normal((case.N, width))
    return arrays


def state_names(arrays: Arrays, kind: str) -> list[str]:
    return [name for name in arrays if name.startswith(f"{kind}_0.")]


def build(case: RecurrentCase, arrays: Arrays, dtype: str) -> Any:
    """The nn module of a case, with the arrays' parameters."""
    arguments: dict[str, Any] = {
        "num_layers": len(case.sizes),
        "bias": case.bias,
        "batch_first": case.batch_first,
        "bidirectional": case.bidirectional,
        "dtype": dtype,
    }
    hidden: Any = list(case.hidden) if case.hidden else case.H
    if case.cell == "lstm":
        module: Any = nn.LSTM(case.I, hidden, proj_size=case.proj, **arguments)
    elif case.cell.startswith("gru"):
        module = nn.GRU(case.I, hidden, reset_after=case.cell == "gru", **arguments)
    else:
        module = nn.RNN(case.I, hidden, nonlinearity=case.cell.removeprefix("rnn-"), **arguments)
    module.load_state_dict({name[2:]: value for name, value in arrays.items() if name.startswith("p.")})
    return module


def _leaf(value: np.ndarray, dtype: str) -> rnncore.Tensor:
    return rnncore.tensor(value, dtype=dtype, requires_grad=True)


def _joined(parts: list[rnncore.Tensor], case: RecurrentCase) -> Any:
    return parts if case.hidden else rnncore.stack(parts)


def run_rnncore(case: RecurrentCase, arrays: Arrays, dtype: str) -> Arrays:
    """Outputs, final states, and the gradient ("d.NAME") of a weighted sum of them for every input and parameter."""
    module = build(case, arrays, dtype)
    kinds = ("h", "c") if case.cell == "lstm" else ("h",)
    leaves = {"x": _leaf(arrays["x"], dtype)}
    leaves.update({name: _leaf(arrays[name], dtype) for kind in kinds for name in state_names(arrays, kind)})
    hx: Any = None
    if case.state:
        states = [_joined([leaves[name] for name in state_names(arrays, kind)], case) for kind in kinds]
        hx = tuple(states) if len(states) == 2 else states[0]
    output, final = module(leaves["x"], hx, lengths=case.lengths)
    results = {"output": output}
    for kind, state in zip(kinds, final if len(kinds) == 2 else (final,), strict=True):
        results.update({f"{kind}_n.{i}": state[i] for i in range(len(state))})
    loss = sum((value * rnncore.tensor(arrays[f"w.{name}"], dtype=dtype)).sum() for name, value in results.items())
    loss.backward()
    leaves.update({f"p.{name}": parameter for name, parameter in module.named_parameters()})
    return {name: value.numpy() for name, value in results.items()} | {
        f"d.{name}": leaf.grad.numpy() for name, leaf in leaves.items()
    }


def assert_close(got: np.ndarray, wanted: np.ndarray, tolerance: float, what: str) -> None:
    assert got.shape == wanted.shape, f"{what}: shape {got.shape}, expected {wanted.shape}"
    if wanted.size == 0:
        return
    largest = np.abs(wanted).max()
    error = np.abs(got - wanted).max()
    assert error <= tolerance * largest, f"{what}: off by {error:.3g}, largest value {largest:.3g}"


def assert_all_close(got: Arrays, wanted: Arrays, tolerance: float) -> None:
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert_close(got[name], value, tolerance, name)
