"""One layer of the engine as a node of ONNX: its operation, attributes and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore import _core
from rnncore.convert import _layouts
from rnncore.convert._errors import refusal
from rnncore.convert._layouts import Array

_OPERATION = "to_onnx"
# The engine's cell: operation and attributes.
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn-tanh": ("RNN", {}),
    "rnn-relu": ("RNN", {"activations": ["Relu"]}),
    "rnn-sigmoid": ("RNN", {"activations": ["Sigmoid"]}),
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {"linear_before_reset": 1}),
    "gru-reset-before": ("GRU", {"linear_before_reset": 0}),
}


@dataclass(frozen=True)
class LayerNode:
    """The operation, its attributes, and W, R, B (and P) in ONNX' order."""

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
    cell = spec.cell
    if cell not in CELLS:
        raise refusal(_OPERATION, place, f"a cell of {list(CELLS)}", repr(cell), "ONNX has no others")
    kind, usual = CELLS[cell]
    hidden = spec.hidden_sizes[k]
    both = spec.bidirectional
    attributes = {"hidden_size": hidden, "direction": "bidirectional" if both else "forward", **usual}
    if "activations" in usual:
        attributes["activations"] = usual["activations"] * (2 if both else 1)
    letters, order = _core.gate_letters(cell), _layouts.ONNX[kind.lower()]
    suffix = f"_l{k}" if hasattr(module, "num_layers") else ""
    suffixes = [suffix, f"{suffix}_reverse"] if both else [suffix]

    def stacked(name: str) -> Array:
        blocks = [getattr(module, name + end).numpy() for end in suffixes]
        return np.stack([_layouts.reorder(block, letters, order) for block in blocks])

    weights = {"W": stacked("weight_ih"), "R": stacked("weight_hh")}
    if spec.bias:
        weights["B"] = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1)
    return LayerNode(kind, hidden, attributes, weights)
