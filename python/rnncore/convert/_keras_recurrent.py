"""Keras' recurrent layers over (N, T, F), with masks, directions and states, on the engine's layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore import _core
from rnncore._core import Tensor
from rnncore.convert import _layouts
from rnncore.convert._keras_config import Config
from rnncore.convert._keras_files import LayerWeights
from rnncore.convert._recurrent import Activation, CellDescription, DirectionWeights, build_layer, reversed_in_time
from rnncore.convert.graph import Array

FAMILIES = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
# Keras' name: the engine's, with numbers where they differ from the engine's usual ones.
_ACTIVATIONS = {
    "tanh": Activation("tanh"),
    "sigmoid": Activation("sigmoid"),
    "relu": Activation("relu"),
    "linear": Activation("affine"),
    "softplus": Activation("softplus"),
    "softsign": Activation("softsign"),
    "elu": Activation("elu"),
    "leaky_relu": Activation("leaky-relu", 0.2),
}


def cell_activation(name: Any, version: str) -> Activation:
    """The engine's activation for Keras' name; None is "linear"."""
    if name == "hard_sigmoid":  # Keras 2: 0.2 x + 0.5; Keras 3: x / 6 + 0.5; both clipped to [0, 1]
        return Activation("hard-sigmoid", 0.2 if version.startswith("2") else 1 / 6, 0.5)
    if name is None:
        name = "linear"
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ValueError(f"activation: expected one of {[*_ACTIVATIONS, 'hard_sigmoid']}, got {name!r}")
    return _ACTIVATIONS[name]


@dataclass(frozen=True)
class KerasRecurrent:
    """One direction: the engine's layer and what Keras does around it."""

    layer: Any
    states: int
    sequences: bool
    return_state: bool
    backwards: bool
    zeros: bool  # masked steps give zeros instead of the output before

    def __call__(self, x: Tensor, mask: Array | None, state: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Output (N, T, H), or (N, H) of the last step, and the final states (N, H).

        Args:
            x: (N, T, F).
            mask: (N, T): False where a step leaves the state alone. It need not be a tail.
            state: (N, H) each, or None for zeros.
        """
        steps = x.transpose(0, 1)
        valid = None if mask is None else np.ascontiguousarray(mask.T)
        if self.backwards:
            steps = reversed_in_time(steps, None)
            valid = None if valid is None else valid[::-1]
        hx: Any = None
        if state is not None:
            given = tuple(part.unsqueeze(0) for part in state)
            hx = given if self.states == 2 else given[0]
        if valid is None:
            output, final = self.layer(steps, hx)
        else:
            output, final = self._masked(steps, valid, hx)
        finals = [part.squeeze(0) for part in (final if self.states == 2 else (final,))]
        if self.sequences:
            return output.transpose(0, 1), finals
        last = output.shape[0]
        return _core.slice(output, 0, last - 1, last).squeeze(0), finals

    def _masked(self, steps: Tensor, valid: Array, hx: Any) -> tuple[Tensor, Any]:
        """The valid steps of each sequence moved together, run with lengths, and put back in their places."""
        order = np.argsort(~valid, axis=0, kind="stable")
        output, final = self.layer(_rows(steps, order), hx, lengths=valid.sum(0).astype(np.int64))
        source = valid.cumsum(0) - 1  # the latest valid step, counted among the valid ones; -1 before the first
        if self.zeros:
            source = np.where(valid, source, -1)
        return _rows(output, source), final


def _rows(x: Tensor, source: Array) -> Tensor:
    """y[t, n] = x[source[t, n], n], zeros where source is -1. On the tape."""
    steps, batch, features = x.shape
    table = _core.cat([x.reshape(steps * batch, features), _core.full((1, features), 0.0, x.dtype)], 0)
    rows = np.where(source < 0, steps * batch, source * batch + np.arange(batch))
    return _core.embedding(table, rows.astype(np.int64))


def build_recurrent(
    config: Config, weights: LayerWeights, part: str, features: int | None, version: str
) -> KerasRecurrent:
    """SimpleRNN, LSTM or GRU from its configuration and weights."""
    family = FAMILIES[config.class_name]
    units, bias = config.size("units"), config.take("use_bias", True)
    candidate = cell_activation(config.take("activation", "tanh"), version)
    cell = CellDescription(family, candidate=candidate)
    reset_after = family == "gru" and config.take("reset_after", version >= "2")
    if family != "rnn":
        gate = cell_activation(config.take("recurrent_activation", "sigmoid"), version)
        hidden = candidate if family == "lstm" else cell.hidden
        cell = CellDescription(family, gate=gate, candidate=candidate, hidden=hidden, reset_after=bool(reset_after))
    if config.take("stateful", False):
        raise ValueError("stateful: expected False, got True; the states belong to the caller: pass initial_state")
    if config.take("time_major", False):
        raise ValueError("time_major: expected False, got True")
    rows = units * len(_layouts.KERAS[family])
    kernel = weights.take(part, 0, "kernel", (features, rows))
    recurrent = weights.take(part, 1, "recurrent_kernel", (units, rows))
    biases: tuple[Array | None, Array | None] = (None, None)
    if bias and reset_after:
        both = weights.take(part, 2, "bias", (2, rows))
        biases = (both[0], both[1])
    elif bias:
        one = weights.take(part, 2, "bias", (rows,))
        biases = (one, np.zeros_like(one))
    layer = build_layer(cell, [DirectionWeights(kernel.T, recurrent.T, *biases)], _layouts.KERAS[family])
    return KerasRecurrent(
        layer.eval(),
        states=2 if family == "lstm" else 1,
        sequences=config.take("return_sequences", False),
        return_state=config.take("return_state", False),
        backwards=config.take("go_backwards", False),
        zeros=config.take("zero_output_for_mask", False),
    )


def _merged(y: Tensor, back: Tensor, merge: str | None) -> list[Tensor]:
    if merge is None:
        return [y, back]
    if merge == "concat":
        return [_core.cat([y, back], y.ndim - 1)]
    if merge == "mul":
        return [y * back]
    return [y + back if merge == "sum" else (y + back) / 2]


MERGES = ("concat", "sum", "mul", "ave", None)


def bidirectional(forward: KerasRecurrent, backward: KerasRecurrent, merge: str | None) -> Any:
    """The function (x, mask, states) -> outputs and final states of both directions."""

    def apply(x: Tensor, mask: Array | None, state: Sequence[Tensor] | None) -> tuple[list[Tensor], list[Tensor]]:
        half = None if state is None else len(state) // 2
        y, final = forward(x, mask, None if state is None else state[:half])
        back, back_final = backward(x, mask, None if state is None else state[half:])
        if backward.sequences:
            back = reversed_in_time(back.transpose(0, 1), None).transpose(0, 1)
        return _merged(y, back, merge), [*final, *back_final]

    return apply
