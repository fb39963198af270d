"""Nodes, weights, inputs and outputs of an ONNX graph, gathered one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore.convert.graph import Array


class Writer:
    """One graph in the making.

    Args:
        onnx: The package.
        dtype: Of weights and values: "float32" or "float64".
        opset: The operator set.
        lengths: Whether recurrent nodes read the input "lengths".
    """

    def __init__(self, onnx: Any, dtype: str, opset: int, lengths: bool) -> None:
        self.onnx = onnx
        self.opset = opset
        self.float_kind = "DOUBLE" if dtype == "float64" else "FLOAT"
        self.lengths = "lengths" if lengths else ""
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._nodes: list[Any] = []
        self._weights: dict[str, Array] = {}

    def port(self, name: str, kind: str, shape: Sequence[Any]) -> Any:
        """An input or output: a size or the name of a free axis for each axis."""
        return self.onnx.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, kind), shape)

    def weight(self, name: str, value: Array) -> str:
        """Stores an array; its name."""
        self._weights[name] = np.array(value, order="C")
        return name

    def integers(self, name: str, values: Any) -> str:
        """Stores sizes or axes; the name."""
        return self.weight(name, np.array(values, np.int64))

    def node(self, kind: str, inputs: Sequence[str], name: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Adds a node; the name of its first output."""
        names = list(outputs) or [f"{name}.output"]
        self._nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names[0]

    def product(self, name: str, value: str, weight: Array, bias: Array | None = None) -> str:
        """Value W^T + b for W (O, I)."""
        given = [value, self.weight(f"{name}.weight", weight.T)]
        if bias is None:
            return self.node("MatMul", given, name)
        result = self.node("MatMul", given, f"{name}.product")
        return self.node("Add", [result, self.weight(f"{name}.bias", bias)], name)

    def reduced(self, kind: str, value: str, axis: int, name: str) -> str:
        """ReduceSum, ReduceMean or ReduceMax over one axis; its place in the file differs between operator sets."""
        as_input = self.opset >= (13 if kind == "ReduceSum" else 18)
        if as_input:
            return self.node(kind, [value, self.integers(f"axis_{axis}", [axis])], name, keepdims=0)
        return self.node(kind, [value], name, axes=[axis], keepdims=0)

    def model(self) -> Any:
        """The whole model, checked."""
        helper = self.onnx.helper
        weights = [self.onnx.numpy_helper.from_array(value, name) for name, value in self._weights.items()]
        graph = helper.make_graph(self._nodes, "rnncore", self.inputs, self.outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="rnncore")
        model.ir_version = helper.find_min_ir_version_for(model.opset_import)  # so that older runtimes read it
        self.onnx.checker.check_model(model)
        return model
