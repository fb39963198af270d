"""RNN, LSTM and GRU of ONNX (operator sets 7 to 22), with all their attributes.

Shapes, with D directions (layout 0; layout 1 has N first): X (T, N, I), W (D, G*H, I), R (D, G*H, H), B (D, 2*G*H),
sequence_lens (N), initial_h and initial_c (D, N, H), P (D, 3*H) -> Y (T, D, N, H), Y_h, Y_c (D, N, H).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnncore import _core, nn
from rnncore._core import Tensor
from rnncore.convert import _layouts
from rnncore.convert._onnx_attributes import Attributes
from rnncore.convert._onnx_cells import ACTIVATIONS, NO_DEFAULTS
from rnncore.convert._recurrent import Activation, CellDescription, DirectionWeights, build_layer, reversed_in_time
from rnncore.convert.graph import Array, as_array

_BY_LOWER = {name.lower(): facts for name, facts in ACTIVATIONS.items()}  # ONNX does not mind capitals here
USUAL = {"rnn": ["Tanh"], "gru": ["Sigmoid", "Tanh"], "lstm": ["Sigmoid", "Tanh", "Tanh"]}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


class RecurrentNode:
    """One node: its attributes, and its layers once the weights are known.

    Args:
        kind: "RNN", "LSTM" or "GRU".
        attributes: Of the node.
    """

    def __init__(self, kind: str, attributes: Attributes) -> None:
        self.family = kind.lower()
        self.gates = {"rnn": 1, "gru": 3, "lstm": 4}[self.family]
        direction = attributes.take("direction", "forward")
        if direction not in DIRECTIONS:
            raise ValueError(f"direction: expected one of {list(DIRECTIONS)}, got {direction!r}")
        self.reverse = DIRECTIONS[direction]
        self.hidden_size = attributes.take("hidden_size", None)
        self.batch_first = bool(attributes.take("layout", 0))
        clip = attributes.take("clip", None)
        if clip is not None and not 0 < clip < float("inf"):
            raise ValueError(f"clip: expected a positive number, or none, got {clip}")
        coupled = self.family == "lstm" and bool(attributes.take("input_forget", 0))
        reset_after = self.family == "gru" and bool(attributes.take("linear_before_reset", 0))
        plain = CellDescription(self.family, clip=clip or 0.0, coupled=coupled, reset_after=reset_after)
        self.cells = [replace(plain, **functions) for functions in self._activations(attributes)]
        if attributes.take("output_sequence", 0):
            raise ValueError("output_sequence: expected none (operator set 7 or newer), got one")

    def _activations(self, attributes: Attributes) -> list[dict[str, Any]]:
        """Per direction, by place; alphas and betas go to the functions that have them, in order."""
        usual = USUAL[self.family]
        names = attributes.take("activations", None) or usual * len(self.reverse)
        left = {key: list(attributes.take(f"activation_{key}", None) or []) for key in ("alpha", "beta")}
        if len(names) != len(usual) * len(self.reverse):
            raise ValueError(f"activations: expected {len(usual) * len(self.reverse)} names, got {names}")
        functions = []
        for name in names:
            if name.lower() not in _BY_LOWER:
                raise ValueError(f"activations: expected some of {list(ACTIVATIONS)}, got {name!r}")
            engine, usual_numbers = _BY_LOWER[name.lower()]
            missing = [f"activation_{key}" for key in usual_numbers if not left[key]]
            if missing and name.lower() in [known.lower() for known in NO_DEFAULTS]:
                raise ValueError(f"{', '.join(missing)}: expected a number for {name}, which has no default, got none")
            numbers = {key: left[key].pop(0) if left[key] else value for key, value in usual_numbers.items()}
            functions.append(Activation(engine, **numbers))
        if left["alpha"] or left["beta"]:
            more = left["alpha"] + left["beta"]
            raise ValueError(f"activation_alpha, activation_beta: expected no more than are used, got {more}")
        places = ("candidate",) if self.family == "rnn" else ("gate", "candidate", "hidden")[: len(usual)]
        starts = range(0, len(functions), len(usual))
        return [dict(zip(places, functions[i : i + len(usual)], strict=True)) for i in starts]

    def prepare(self, values: Sequence[Any]) -> list[nn.Module]:
        """The layers for weights W, R, B, P: one per direction, or a single one for two that are alike."""
        given = (*values, *[None] * 8)
        weight, recurrent, bias, peepholes = (
            None if value is None else as_array(value) for value in (given[1], given[2], given[3], given[7])
        )
        directions = len(self.reverse)
        if weight is None or recurrent is None or weight.ndim != 3 or recurrent.ndim != 3:
            raise ValueError("W, R: expected shapes (D, G*H, I) and (D, G*H, H)")
        hidden, rows = recurrent.shape[2], self.gates * recurrent.shape[2]
        _check("W", weight, (directions, rows, weight.shape[2]))
        _check("R", recurrent, (directions, rows, hidden))
        _check("B", bias, (directions, 2 * rows))
        _check("P", peepholes, (directions, 3 * hidden))
        if self.hidden_size not in (None, hidden):
            raise ValueError(f"hidden_size: expected {hidden}, as R has it, got {self.hidden_size}")
        if peepholes is not None and self.family != "lstm":
            raise ValueError("P: expected none, got one")
        weights = [
            DirectionWeights(
                weight[d],
                recurrent[d],
                None if bias is None else bias[d, :rows],
                None if bias is None else bias[d, rows:],
                None if peepholes is None else peepholes[d],
            )
            for d in range(directions)
        ]
        order = _layouts.ONNX[self.family]
        cells = [replace(cell, peephole=peepholes is not None) for cell in self.cells]
        if directions == 2 and cells[0] == cells[1]:
            return [build_layer(cells[0], weights, order)]
        return [build_layer(cell, [one], order) for cell, one in zip(cells, weights, strict=True)]

    def names(self, name: str) -> list[str]:
        """What the layers of `prepare` are registered as."""
        if len(self.reverse) == 1 or self.cells[0] == self.cells[1]:
            return [name]
        return [f"{name}.forward", f"{name}.reverse"]

    def run(self, layers: Sequence[Any], values: Sequence[Any]) -> Sequence[Any]:
        """Y, Y_h and, of an LSTM, Y_c."""
        given = (*values, *[None] * 8)
        x, lengths, h, c = given[0], given[4], given[5], given[6]
        if not isinstance(x, Tensor) or x.ndim != 3:
            raise ValueError(f"X: expected floats of shape {'(N, T, I)' if self.batch_first else '(T, N, I)'}")
        if self.batch_first:
            x, h, c = (None if value is None else value.transpose(0, 1) for value in (x, h, c))
        steps, batch, _ = x.shape
        ends = None if lengths is None else _lengths(as_array(lengths), steps, batch)
        state = (h, c) if self.family == "lstm" else (h,)
        if len(layers) < len(self.reverse):  # both directions in one layer
            output, final = _call(layers[0], x, state, ends)
            hidden = output.shape[2] // 2
            outputs = output.reshape(steps, batch, 2, hidden).transpose(1, 2)
        else:
            parts = [self._direction(layers[d], d, x, state, ends) for d in range(len(layers))]
            outputs = parts[0][0].unsqueeze(1) if len(parts) == 1 else _core.stack([part[0] for part in parts], 1)
            final = [_core.cat([part[1][i] for part in parts], 0) for i in range(len(state))]
        if self.batch_first:  # Y (N, T, D, H), states (N, D, H)
            outputs = outputs.transpose(1, 2).transpose(0, 1)
            final = [value.transpose(0, 1) for value in final]
        return [outputs, *final]

    def _direction(
        self, layer: Any, d: int, x: Tensor, state: Sequence[Any], lengths: Array | None
    ) -> tuple[Tensor, list[Tensor]]:
        own = [None if value is None else _core.slice(value, 0, d, d + 1) for value in state]
        if not self.reverse[d]:
            return _call(layer, x, own, lengths)
        output, final = _call(layer, reversed_in_time(x, lengths), own, lengths)
        return reversed_in_time(output, lengths), final


def _call(layer: Any, x: Tensor, state: Sequence[Any], lengths: Array | None) -> tuple[Tensor, list[Tensor]]:
    """Output and final state; parts of the initial state that are absent are zeros."""
    present = next((value for value in state if value is not None), None)
    if present is None:
        hx: Any = None
    else:
        filled = [_core.full(present.shape, 0.0, present.dtype) if value is None else value for value in state]
        hx = tuple(filled) if len(filled) == 2 else filled[0]
    output, final = layer(x, hx, lengths=lengths)
    return output, list(final) if isinstance(final, tuple) else [final]


def _lengths(lengths: Array, steps: int, batch: int) -> Array:
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ValueError(f"sequence_lens: expected integers of shape ({batch}), got {lengths.dtype} {lengths.shape}")
    if batch and not (lengths.min() >= 0 and lengths.max() <= steps):
        raise ValueError(f"sequence_lens: expected within [0, {steps}], got {lengths.tolist()}")
    return lengths.astype(np.int64)


def _check(name: str, value: Array | None, shape: tuple[int, ...]) -> None:
    if value is not None and value.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {value.shape}")
