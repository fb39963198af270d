"""The engine's recurrent layer for the description of one in another framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore import _core, nn
from rnncore._core import Tensor
from rnncore._messages import message
from rnncore.convert._layouts import Array, reorder


@dataclass(frozen=True)
class Activation:
    """A function by the engine's name, with its parameters; None: the usual ones."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __str__(self) -> str:
        given = [f"{value:g}" for value in (self.alpha, self.beta) if value is not None]
        return f"{self.name}({', '.join(given)})" if given else self.name


SIGMOID, TANH = Activation("sigmoid"), Activation("tanh")


@dataclass(frozen=True)
class CellDescription:
    """The equations of a layer.

    Args:
        family: "rnn", "gru" or "lstm".
        gate: The activation of the gates.
        candidate: The activation of the new content (of an Elman network: the only one).
        hidden: The activation of the LSTM's cell.
        clip: > 0: each activation's input is clipped to [-clip, clip].
        coupled: The LSTM's forget gate is 1 - i.
        peephole: The LSTM's gates see the cell.
        reset_after: Whether the GRU's r multiplies the recurrent product or the state before it.
    """

    family: str
    gate: Activation = SIGMOID
    candidate: Activation = TANH
    hidden: Activation = TANH
    clip: float = 0.0
    coupled: bool = False
    peephole: bool = False
    reset_after: bool = True


@dataclass(frozen=True)
class DirectionWeights:
    """One direction's weights in another framework's order of gates; see `_layouts`. None: there are none."""

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None
    peepholes: Array | None = None


def build_layer(cell: CellDescription, weights: Sequence[DirectionWeights], order: str) -> Any:
    """A layer of one or two directions (`nn.RNN`, `nn.LSTM` or `nn.GRU`).

    Args:
        cell: The equations.
        weights: Per direction: weight_ih (G*H, I), weight_hh (G*H, H), biases (G*H).
        order: The letters of the weights' gates, e.g. `_layouts.ONNX["lstm"]`.

    Raises:
        ValueError: something that the engine does not have, by name.
    """
    inputs, hidden = weights[0].weight_ih.shape[1], weights[0].weight_hh.shape[1]
    options: dict[str, Any] = {
        "bias": weights[0].bias_ih is not None,
        "bidirectional": len(weights) == 2,
        "dtype": str(weights[0].weight_ih.dtype),
    }
    layer = _constructor(cell)(inputs, hidden, **options)
    letters = _core.gate_letters(layer.spec.cell)
    layer.load_state_dict(_state(weights, order, letters))
    return layer


def _constructor(cell: CellDescription) -> Any:
    changed = []
    if cell.clip:
        changed.append("clip")
    if cell.coupled:
        changed.append("coupled input and forget gates")
    if cell.peephole:
        changed.append("peepholes")
    if cell.family != "rnn" and cell.gate != SIGMOID:
        changed.append(f"gate activation {cell.gate}")
    if cell.family != "rnn" and cell.candidate != TANH:
        changed.append(f"candidate activation {cell.candidate}")
    if cell.family == "lstm" and cell.hidden != TANH:
        changed.append(f"hidden activation {cell.hidden}")
    if changed:
        raise ValueError(message("recurrent layer", "options", "ones that the engine has", ", ".join(changed)))
    if cell.family == "lstm":
        return nn.LSTM
    if cell.family == "gru":
        return lambda inputs, hidden, **options: nn.GRU(inputs, hidden, reset_after=cell.reset_after, **options)
    return lambda inputs, hidden, **options: nn.RNN(inputs, hidden, nonlinearity=cell.candidate.name, **options)


def _state(weights: Sequence[DirectionWeights], order: str, letters: str) -> Mapping[str, Array]:
    state = {}
    for one, suffix in zip(weights, ("_l0", "_l0_reverse"), strict=False):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            value = getattr(one, name)
            if value is not None:
                state[name + suffix] = reorder(value, order, letters)
    return state


def reversed_in_time(x: Tensor, lengths: Array | None) -> Tensor:
    """Each sequence of x (T, N, F) backwards, within its length (steps beyond it stay). On the tape."""
    steps, batch, features = x.shape
    ends = np.full(batch, steps, np.int64) if lengths is None else lengths
    t = np.arange(steps)[:, None]
    source = np.where(t < ends, ends - 1 - t, t)
    rows = source * batch + np.arange(batch)
    return _core.embedding(x.reshape(steps * batch, features), rows)
