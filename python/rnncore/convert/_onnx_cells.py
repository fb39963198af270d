"""One layer of the engine as a node of ONNX: its operation, attributes and weights; and the names of activations."""

from __future__ import annotations

from collections.abc import Mapping
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
}
_TRAINING_ALONE = ("truncate_gates", "state_dropout")  # options that change nothing in inference

_WEIGHTS = ("weight_ih", "weight_hh", "weight_peephole")


@dataclass(frozen=True)
class LayerNode:
    """The operation, its attributes, and W, R, B and P in ONNX' order, as far as there are any."""

    kind: str
    hidden_size: int
    attributes: dict[str, Any]
    weights: dict[str, Array]


def describe_layer(module: Any, k: int, place: str) -> LayerNode:
    """Layer k of a recurrent module or cell.

    Raises:
        ConversionError: ONNX has no such cell.
    """
    spec = module.spec
    if spec.cell not in _CELLS:
        raise refusal(_OPERATION, place, f"a cell of {list(_CELLS)}", repr(spec.cell), "ONNX has no others")
    kind, usual, functions = _CELLS[spec.cell]
    hidden, directions = spec.hidden_sizes[k], 2 if spec.bidirectional else 1
    options = {name: value for name, value in (spec.options or {}).items() if name not in _TRAINING_ALONE}
    attributes = {"hidden_size": hidden, "direction": "bidirectional" if spec.bidirectional else "forward", **usual}
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
    return LayerNode(kind, hidden, attributes, _weights(module, k, kind))


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


def _weights(module: Any, k: int, kind: str) -> dict[str, Array]:
    spec = module.spec
    letters, order = _core.gate_letters(spec.cell, spec.options), _layouts.ONNX[kind.lower()]
    suffix = f"_l{k}" if hasattr(module, "num_layers") else ""
    suffixes = [suffix, f"{suffix}_reverse"] if spec.bidirectional else [suffix]

    def stacked(name: str, source: str, target: str) -> Array:
        blocks = [getattr(module, name + end).numpy() for end in suffixes]
        return np.stack([_layouts.reorder(block, source, target) for block in blocks])

    weights = {"W": stacked("weight_ih", letters, order), "R": stacked("weight_hh", letters, order)}
    if spec.bias:
        weights["B"] = np.concatenate([stacked("bias_ih", letters, order), stacked("bias_hh", letters, order)], axis=1)
    if hasattr(module, f"weight_peephole{suffix}"):
        rows = "".join(letter for letter in letters if letter != "g")  # (P, H): one row for each gate
        peepholes = stacked("weight_peephole", rows, _layouts.ONNX_PEEPHOLES)
        weights["P"] = peepholes.reshape(len(suffixes), -1)
    return weights
