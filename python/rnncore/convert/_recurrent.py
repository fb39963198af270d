"""The engine's recurrent layer for the description of one in another framework."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore import _core, nn
from rnncore._core import RecurrentSpec, Tensor
from rnncore._messages import message
from rnncore.convert._layouts import ONNX_PEEPHOLES, Array, reorder


@dataclass(frozen=True)
class Activation:
    """A function by the engine's name, with its parameters; None: the usual ones."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    def choice(self) -> Any:
        """As the engine's classes take it: a name, or a name with its numbers."""
        given = tuple(value for value in (self.alpha, self.beta) if value is not None)
        return (self.name, *given) if given else self.name


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
        "clip": cell.clip,
    }
    layer: Any
    if cell.family == "lstm":
        activations = _changed(gate=(cell.gate, SIGMOID), candidate=(cell.candidate, TANH), hidden=(cell.hidden, TANH))
        options.update(activations=activations, peephole=cell.peephole, coupled=cell.coupled)
        layer = nn.LSTM(inputs, hidden, **options)
    elif cell.family == "gru":
        activations = _changed(gate=(cell.gate, SIGMOID), candidate=(cell.candidate, TANH))
        layer = nn.GRU(inputs, hidden, reset_after=cell.reset_after, activations=activations, **options)
    else:
        layer = nn.RNN(inputs, hidden, nonlinearity=cell.candidate.choice(), **options)
    letters = _core.gate_letters(layer.spec.cell, layer.spec.options)
    layer.load_state_dict(_state(weights, order, letters))
    return layer


def _changed(**given: tuple[Activation, Activation]) -> dict[str, Any]:
    """The activations that are not the usual ones, as the engine's classes take them."""
    return {place: chosen.choice() for place, (chosen, usual) in given.items() if chosen != usual}


def _state(weights: Sequence[DirectionWeights], order: str, letters: str) -> Mapping[str, Array]:
    state = {}
    for one, suffix in zip(weights, ("_l0", "_l0_reverse"), strict=False):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            value = getattr(one, name)
            if value is not None:
                state[name + suffix] = reorder(value, order, letters)
        if one.peepholes is not None:
            rows = reorder(one.peepholes, ONNX_PEEPHOLES, "".join(letter for letter in letters if letter != "g"))
            state["weight_peephole" + suffix] = rows.reshape(-1, one.weight_hh.shape[1])
    return state


def reversed_in_time(x: Tensor, lengths: Array | None) -> Tensor:
    """Each sequence of x (T, N, F) backwards, within its length (steps beyond it stay). On the tape."""
    steps, batch, features = x.shape
    ends = np.full(batch, steps, np.int64) if lengths is None else lengths
    t = np.arange(steps)[:, None]
    source = np.where(t < ends, ends - 1 - t, t)
    rows = source * batch + np.arange(batch)
    return _core.embedding(x.reshape(steps * batch, features), rows)


def facts_of(spec: RecurrentSpec) -> dict[str, Any]:
    """A stack as in a model file: "layers" and what else differs from the default."""
    facts: dict[str, Any] = json.loads(_core.recurrent_spec_json(spec))
    return facts


_PLAIN = {"input_size", "layers", "bias", "bidirectional", "dropout"}  # facts that nn.LSTM and its like have too


def module_of_spec(spec: RecurrentSpec, dtype: str, batch_first: bool = False) -> Any:
    """The module of `nn` for a stack, with parameters that are still to be loaded."""
    facts = facts_of(spec)
    layers = facts["layers"]
    kinds = [{key: value for key, value in layer.items() if key != "hidden_size"} for layer in layers]
    common: dict[str, Any] = {"bias": spec.bias, "bidirectional": spec.bidirectional, "dropout": spec.dropout}
    common |= {"batch_first": batch_first, "dtype": dtype}
    wired = set(kinds[0]) - {"cell", "options", "proj_size"} or set(facts) - _PLAIN
    if wired or "group_periods" in kinds[0].get("options", {}) or any(kind != kinds[0] for kind in kinds):
        wiring = {key: value for key, value in facts.items() if key not in _PLAIN}
        return nn.Recurrent(spec.input_size, layers, **common, **wiring)
    cell, options = kinds[0]["cell"], dict(kinds[0].get("options", {}))
    activations = {place: _choice_of(**given) for place, given in options.pop("activations", {}).items()}
    if "zoneout_h" in options or "zoneout_c" in options:
        kept = (options.pop("zoneout_h", 0.0), options.pop("zoneout_c", 0.0))
        options["zoneout"] = kept if cell == "lstm" else kept[0]
    if cell in ("lstm", "gru", "gru-reset-before", "mgu"):
        options["activations"] = activations
    else:
        usual = {"rnn": "tanh", "indrnn": "relu"}.get(cell, cell.removeprefix("rnn-"))
        options["nonlinearity"] = activations.get("candidate", usual)
    if cell.startswith("gru"):
        options["reset_after"] = cell == "gru"
    classes = {"lstm": nn.LSTM, "gru": nn.GRU, "gru-reset-before": nn.GRU, "mgu": nn.MGU, "indrnn": nn.IndRNN}
    if "proj_size" in kinds[0]:
        options["proj_size"] = kinds[0]["proj_size"]
    sizes = [layer["hidden_size"] for layer in layers]
    size: Any = sizes[0] if len(set(sizes)) == 1 else sizes
    module: Any = classes.get(cell, nn.RNN)
    return module(spec.input_size, size, num_layers=len(sizes), **common, **options)


def _choice_of(kind: str, alpha: float | None = None, beta: float | None = None) -> Any:
    """An activation of a specification as the classes of `nn` take it."""
    if beta is not None and alpha is None:
        raise ValueError(message("recurrent layer", "activations", "alpha where there is a beta", f"beta = {beta}"))
    return Activation(kind, alpha, beta).choice()
