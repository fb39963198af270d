"""One layer of the engine as a node of ONNX: its operation, attributes and weights; and the names of activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore import _core
from rnncore.convert import _layouts
from rnncore.convert._errors import refusal
from rnncore.convert._layouts import Array

_OPERATION = "to_onnx"
# ONNX' name: the engine's name, and its numbers with their defaults: the same here and there, where ONNX has any.
ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "Affine": ("affine", {"alpha": 1.0, "beta": 0.0}),
    "Relu": ("relu", {}),
    "LeakyRelu": ("leaky-relu", {"alpha": 0.01}),
    "ThresholdedRelu": ("thresholded-relu", {"alpha": 1.0}),
    "Tanh": ("tanh", {}),
    "ScaledTanh": ("scaled-tanh", {"alpha": 1.0, "beta": 1.0}),
    "Sigmoid": ("sigmoid", {}),
    "HardSigmoid": ("hard-sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Softsign": ("softsign", {}),
    "Softplus": ("softplus", {}),
}
NO_DEFAULTS = ("Affine", "ScaledTanh")  # ONNX gives them none
# The engine's cell: operation, attributes, and the usual activations by their place.
_CELLS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "rnn-tanh": ("RNN", {}, {"candidate": "tanh"}),
    "rnn-relu": ("RNN", {}, {"candidate": "relu"}),
    "rnn-sigmoid": ("RNN", {}, {"candidate": "sigmoid"}),
    "rnn": ("RNN", {}, {"candidate": "tanh"}),
    "lstm": ("LSTM", {}, {"gate": "sigmoid", "candidate": "tanh", "hidden": "tanh"}),
    "gru": ("GRU", {"linear_before_reset": 1}, {"gate": "sigmoid", "candidate": "tanh"}),
    "gru-reset-before": ("GRU", {"linear_before_reset": 0}, {"gate": "sigmoid", "candidate": "tanh"}),
    # With sigmoid(-a) = 1 - sigmoid(a) it is the GRU whose r is f and whose z is 1 - f.
    "mgu": ("GRU", {"linear_before_reset": 0}, {"gate": "sigmoid", "candidate": "tanh"}),
    # The Elman network whose W_hh is the diagonal matrix of u.
    "indrnn": ("RNN", {}, {"candidate": "relu"}),
}
_TRAINING_ALONE = ("truncate_gates", "state_dropout")  # options that change nothing in inference

_WEIGHTS = ("weight_ih", "weight_hh", "weight_peephole", "weight_u", "weight_skip", "weight_highway")


@dataclass(frozen=True)
class LayerNode:
    """The operation, its attributes, and W, R, B and P in ONNX' order, as far as there are any."""

    kind: str
    hidden_size: int
    attributes: dict[str, Any]
    weights: dict[str, Array]

    @property
    def states(self) -> tuple[str, ...]:
        """What the layer carries from step to step."""
        return ("h", "c") if self.kind == "LSTM" else ("h",)


def describe_layer(module: Any, facts: Mapping[str, Any], k: int, place: str) -> LayerNode:
    """Layer k of a recurrent module or cell; facts: of its stack, as in a model file.

    Raises:
        ConversionError: ONNX has no such cell.
    """
    layer = facts["layers"][k]
    if layer["cell"] not in _CELLS:
        raise refusal(_OPERATION, place, f"a cell of {list(_CELLS)}", repr(layer["cell"]), "ONNX has no others")
    kind, usual, functions = _CELLS[layer["cell"]]
    hidden, directions = layer["hidden_size"], 2 if facts["bidirectional"] else 1
    options = {name: value for name, value in layer.get("options", {}).items() if name not in _TRAINING_ALONE}
    direction = "bidirectional" if directions == 2 else "reverse" if facts.get("reverse") else "forward"
    attributes = {"hidden_size": hidden, "direction": direction, **usual}
    attributes.update(_activations(functions, options.pop("activations", {}), directions, place))
    if "clip" in options:
        attributes["clip"] = float(options.pop("clip"))
    if options.pop("coupled", False):
        attributes["input_forget"] = 1
    options.pop("peephole", None)
    if options:
        raise refusal(_OPERATION, place, "options that ONNX has", ", ".join(options))
    foreign = [name for name in vars(module) if name.startswith("weight_") and not name.startswith(_WEIGHTS)]
    if foreign:
        raise refusal(_OPERATION, place, "weights that ONNX has", ", ".join(foreign))
    if layer["cell"] == "mgu" and attributes["activations"][0] != "Sigmoid":
        raise refusal(_OPERATION, place, "the gate activation sigmoid", attributes["activations"][0])
    suffix = f"_l{k}" if hasattr(module, f"weight_ih_l{k}") else ""  # a cell's have none
    suffixes = [suffix, f"{suffix}_reverse"] if directions == 2 else [suffix]
    return LayerNode(kind, hidden, attributes, _weights(module, layer, suffixes, _layouts.ONNX[kind.lower()]))


def _activations(
    usual: Mapping[str, str], chosen: Mapping[str, Any], directions: int, place: str
) -> dict[str, list[Any]]:
    """The attributes activations, activation_alpha, activation_beta: for every direction the same."""
    known = {engine: (name, numbers) for name, (engine, numbers) in ACTIVATIONS.items()}
    lists: dict[str, list[Any]] = {"activations": [], "activation_alpha": [], "activation_beta": []}
    for where, default in usual.items():
        given = chosen.get(where, {"kind": default})
        if given["kind"] not in known:
            raise refusal(_OPERATION, place, f"an activation of {list(known)}", repr(given["kind"]))
        name, numbers = known[given["kind"]]
        lists["activations"].append(name)
        for key, value in numbers.items():
            lists[f"activation_{key}"].append(float(given.get(key, value)))
    return {name: values * directions for name, values in lists.items() if values}


def _weights(module: Any, layer: Mapping[str, Any], suffixes: Sequence[str], order: str) -> dict[str, Array]:
    """W, R, B and P; `suffixes` are the parameters' endings, one for each direction."""
    letters = _core.gate_letters(layer["cell"], layer.get("options"))

    def stacked(name: str) -> Array:
        return np.stack([_rows(getattr(module, name + end).numpy(), layer["cell"], letters, order) for end in suffixes])

    weights = {"W": stacked("weight_ih")}
    if layer["cell"] == "indrnn":
        weights["R"] = np.stack([np.diag(getattr(module, f"weight_u{end}").numpy()) for end in suffixes])
    else:
        weights["R"] = stacked("weight_hh")
    if hasattr(module, f"bias_ih{suffixes[0]}"):
        given = stacked("bias_ih")
        own = stacked("bias_hh") if layer["cell"] != "indrnn" else np.zeros_like(given)
        weights["B"] = np.concatenate([given, own], axis=1)
    if hasattr(module, f"weight_peephole{suffixes[0]}"):
        rows = "".join(letter for letter in letters if letter != "g")  # (P, H): one row for each gate
        blocks = [getattr(module, f"weight_peephole{end}").numpy() for end in suffixes]
        peepholes = [_layouts.reorder(block, rows, _layouts.ONNX_PEEPHOLES).reshape(-1) for block in blocks]
        weights["P"] = np.stack(peepholes)
    return weights


def _rows(stacked: Array, cell: str, letters: str, order: str) -> Array:
    """Rows in ONNX' order; a minimal gated unit's f stands for r and, negated, for z."""
    if cell == "mgu":
        f, n = np.split(stacked, 2)
        return np.concatenate([-f, f, n])  # z r n
    return _layouts.reorder(stacked, letters, order)
