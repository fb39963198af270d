"""Nodes with constant weights become layers of `nn`: tables, linear layers, normalisations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore import nn
from rnncore._core import Tensor
from rnncore.convert.graph import Array, Graph, Node, as_array


def as_layers(graph: Graph, constants: Mapping[str, Any]) -> None:
    """Replaces what can be replaced, in place: the same numbers, with parameters that have a place and a name."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    consumers = {name: node for node in graph.nodes for name in node.inputs}
    gone: set[int] = set()
    for node in graph.nodes:
        if node.kind == "MatMul":
            after = consumers.get(node.outputs[0])
            alone = after if after is not None and after.kind == "Add" and uses[node.outputs[0]] == 1 else None
            if _linear_of_matmul(graph, node, alone, constants) and alone is not None and alone.outputs == node.outputs:
                gone.add(id(alone))
        elif node.kind == "Gemm":
            _linear_of_gemm(graph, node, constants)
        elif node.kind == "Gather":
            _embedding(graph, node, constants)
        elif node.kind == "LayerNormalization":
            _layer_norm(graph, node, constants)
        elif node.kind in _FUNCTIONS:
            node.plain = [_FUNCTIONS[node.kind]()]
        elif node.kind in ("Softmax", "LogSoftmax"):
            node.plain = [(nn.Softmax if node.kind == "Softmax" else nn.LogSoftmax)(node.options.get("axis", -1))]
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


_FUNCTIONS: dict[str, type[nn.Module]] = {"Tanh": nn.Tanh, "Sigmoid": nn.Sigmoid, "Relu": nn.ReLU}


def _weight(constants: Mapping[str, Any], inputs: list[str], index: int, ndim: int) -> Array | None:
    """The numbers of a constant float input with so many axes."""
    value = constants.get(inputs[index]) if index < len(inputs) and inputs[index] else None
    fits = isinstance(value, Tensor) and value.ndim == ndim and 0 not in value.shape
    return as_array(value) if fits else None


def _put(graph: Graph, node: Node, layer: nn.Module, weight: str) -> None:
    """Registers a layer under its weight's name, as "head" of "head.weight", or under the node's."""
    name = weight.removesuffix(".weight") if weight.endswith(".weight") else node.name
    graph.layers.put(name, layer.eval())
    node.plain = [layer]


def _linear(weight: Array, bias: Array | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=str(weight.dtype))
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer


def _linear_of_matmul(graph: Graph, node: Node, after: Node | None, constants: Mapping[str, Any]) -> bool:
    """X W, and an addition of a constant row that alone follows it."""
    weight = _weight(constants, node.inputs, 1, 2)
    if weight is None:
        return False
    bias, outputs = None, node.outputs
    if after is not None:
        other = after.inputs[1] if after.inputs[0] == node.outputs[0] else after.inputs[0]
        bias = _weight(constants, [other], 0, 1)
        if bias is not None and bias.shape == weight.shape[1:] and bias.dtype == weight.dtype:
            outputs = after.outputs
        else:
            bias = None
    layer = _linear(np.ascontiguousarray(weight.T), bias)
    _put(graph, node, layer, node.inputs[1])
    node.inputs, node.outputs = node.inputs[:1], outputs
    node.function = lambda values: [layer(values[0])]
    return True


def _linear_of_gemm(graph: Graph, node: Node, constants: Mapping[str, Any]) -> None:
    weight = _weight(constants, node.inputs, 1, 2)
    scaled = node.options.get("alpha", 1.0) != 1.0 or node.options.get("beta", 1.0) != 1.0
    if weight is None or scaled or node.options.get("transA", 0):
        return
    weight = weight if node.options.get("transB", 0) else np.ascontiguousarray(weight.T)
    bias = _weight(constants, node.inputs, 2, 1)
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    if has_bias and (bias is None or bias.shape != weight.shape[:1]):
        return
    layer = _linear(weight, bias)
    _put(graph, node, layer, node.inputs[1])
    node.inputs = node.inputs[:1]
    node.function = lambda values: [layer(values[0])]


def _embedding(graph: Graph, node: Node, constants: Mapping[str, Any]) -> None:
    table = _weight(constants, node.inputs, 0, 2)
    if table is None or node.options.get("axis", 0) not in (0, -2):
        return
    layer = nn.Embedding(table.shape[0], table.shape[1], dtype=str(table.dtype))
    layer.load_state_dict({"weight": table})
    _put(graph, node, layer, node.inputs[0])
    gather = node.function
    node.inputs = node.inputs[1:]
    node.function = lambda values: gather([layer.weight, *values])


def _layer_norm(graph: Graph, node: Node, constants: Mapping[str, Any]) -> None:
    scale, shift = _weight(constants, node.inputs, 1, 1), _weight(constants, node.inputs, 2, 1)
    has_shift = len(node.inputs) > 2 and bool(node.inputs[2])
    if scale is None or (has_shift and (shift is None or shift.shape != scale.shape)):
        return
    epsilon = node.options.get("epsilon", 1e-5)
    layer = nn.LayerNorm(scale.shape[0], epsilon, bias=shift is not None, dtype=str(scale.dtype))
    layer.load_state_dict({"weight": scale} if shift is None else {"weight": scale, "bias": shift})
    _put(graph, node, layer, node.inputs[1])
    normalise = node.function
    node.inputs = node.inputs[:1]
    node.function = lambda values: normalise([values[0], layer.weight, layer.bias])
