"""From ONNX: a graph of recurrent layers and what stands around them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from rnncore import nn
from rnncore._core import Tensor
from rnncore.convert import _onnx_math, _onnx_values
from rnncore.convert._errors import ConversionError, need, refusal
from rnncore.convert._onnx_attributes import KNOWN_DTYPES, Attributes
from rnncore.convert._onnx_fuse import as_layers
from rnncore.convert._onnx_recurrent import RecurrentNode
from rnncore.convert.graph import FAULTS, Graph, Node, Port, as_value

_OPERATION = "from_onnx"
OPERATIONS = {**_onnx_values.OPERATIONS, **_onnx_math.OPERATIONS}
RECURRENT = ("RNN", "LSTM", "GRU")
OLDEST, NEWEST = 7, 28
DOMAINS = ("", "ai.onnx")


def from_onnx(source: Any) -> Graph:
    """The graph of an ONNX model, ready to `run`.

    Nodes: RNN, LSTM and GRU with all their attributes, Gather, MatMul, Gemm, LayerNormalization, softmaxes,
    activations, arithmetic, reductions, comparisons and what moves values about (`OPERATIONS`). Operator sets 7 and up.

    Args:
        source: A path, the bytes of a file, or an onnx.ModelProto.

    Returns:
        A `Graph`. Recurrent layers, tables, linear layers and normalisations are modules of `nn` in `graph.layers`.

    Raises:
        ConversionError: naming file and node: an unknown operation or attribute, a missing or an unused weight.
        ImportError: `onnx` is not installed (the extra "onnx").
    """
    onnx = need(_OPERATION, "onnx", "onnx")
    model, origin = _load(onnx, source)
    try:
        return _Import(onnx, model, origin).graph
    except ConversionError:
        raise
    except FAULTS as error:  # a protobuf field that is not what ONNX says
        raise refusal(_OPERATION, origin, "a valid ONNX model", " ".join(str(error).split())) from error


def _load(onnx: Any, source: Any) -> tuple[Any, str]:
    if isinstance(source, onnx.ModelProto):
        return source, "model"
    if isinstance(source, (str, os.PathLike)):
        origin = str(os.fspath(source))
        with Path(origin).open("rb"):  # a missing file is the operating system's error
            pass
    elif isinstance(source, (bytes, bytearray)):
        origin = "bytes"
    else:
        raise TypeError(f"[{_OPERATION}] source: expected a path, bytes or a ModelProto, got {type(source).__name__}")
    try:
        if isinstance(source, (bytes, bytearray)):
            return onnx.load_model_from_string(bytes(source)), origin
        return onnx.load(origin), origin
    except Exception as error:  # protobuf's DecodeError is no common kind of error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise refusal(_OPERATION, origin, "an ONNX model", reason) from None


class _Import:
    """The building of one graph."""

    def __init__(self, onnx: Any, model: Any, origin: str) -> None:
        self.onnx = onnx
        self.origin = origin
        self.opset = self._opset(model)
        proto = model.graph
        if not proto.node and not proto.output:
            raise refusal(_OPERATION, origin, "an ONNX model", "an empty graph")
        self._refuse(proto.sparse_initializer, "sparse initialisers")
        self._refuse(model.functions, "functions")
        weights = {tensor.name: self._tensor(tensor) for tensor in proto.initializer}
        # Before version 4 of the format every weight had to be listed as an input too.
        listed = [value for value in proto.input if model.ir_version >= 4 or value.name not in weights]
        inputs = [self._port(value) for value in listed]
        optional = {port.name: weights[port.name] for port in inputs if port.name in weights}
        self.graph = Graph(origin, inputs, [value.name for value in proto.output], optional)
        self.constants = {name: value for name, value in weights.items() if name not in optional}
        self.known = set(weights) | {port.name for port in inputs}
        self.used: set[str] = set()
        for index, node in enumerate(proto.node):
            self._add(node, index)
        self._finish(weights)

    def _opset(self, model: Any) -> int:
        versions = {one.domain: one.version for one in model.opset_import}
        version = max((versions[domain] for domain in DOMAINS if domain in versions), default=0)
        if not OLDEST <= version <= NEWEST:
            raise refusal(_OPERATION, self.origin, f"operator set {OLDEST} to {NEWEST}", str(version))
        return int(version)

    def _refuse(self, present: Any, what: str) -> None:
        if len(present):
            raise refusal(_OPERATION, self.origin, f"no {what}", f"{len(present)}")

    def _tensor(self, tensor: Any) -> Any:
        try:
            array = np.array(self.onnx.numpy_helper.to_array(tensor))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise refusal(_OPERATION, f"{self.origin}: initialiser {tensor.name!r}", "a tensor", reason) from None
        if array.dtype.name not in KNOWN_DTYPES:
            place = f"{self.origin}: initialiser {tensor.name!r}"
            raise refusal(_OPERATION, place, f"one of {', '.join(KNOWN_DTYPES)}", array.dtype.name)
        return as_value(array)

    def _port(self, value: Any) -> Port:
        place = f"{self.origin}: input {value.name!r}"
        if not value.type.HasField("tensor_type"):
            raise refusal(_OPERATION, place, "a tensor", value.type.WhichOneof("value") or "nothing")
        kind = value.type.tensor_type
        try:
            dtype = np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
        except (KeyError, ValueError, TypeError):
            dtype = "unknown"
        if dtype not in KNOWN_DTYPES:
            raise refusal(_OPERATION, place, f"one of {', '.join(KNOWN_DTYPES)}", str(dtype))
        shape: tuple[int | str | None, ...] | None = None
        if kind.HasField("shape"):
            axes = kind.shape.dim
            shape = tuple(axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None for axis in axes)
        return Port(value.name, str(dtype), shape)

    def _add(self, proto: Any, index: int) -> None:
        node = Node(
            proto.name or f"{proto.op_type}_{index}", proto.op_type, list(proto.input), list(proto.output), list
        )
        place = f"{self.origin}: {node}"
        for name in node.inputs:
            if name and name not in self.known:
                raise refusal(_OPERATION, place, f"input {name!r} before this node", "none", "a missing weight?")
        for name in node.outputs:
            if name and name in self.known:
                raise refusal(_OPERATION, place, f"{name!r} once", "twice")
        if proto.domain not in DOMAINS or (node.kind not in OPERATIONS and node.kind not in RECURRENT):
            kind = f"{proto.domain}.{node.kind}" if proto.domain else node.kind
            raise refusal(_OPERATION, place, f"one of {', '.join([*RECURRENT, *OPERATIONS])}", kind)
        try:
            attributes = Attributes(self.onnx, proto, self.opset)
            node.options = attributes.left()
            if node.kind in RECURRENT:
                self._add_recurrent(node, RecurrentNode(node.kind, attributes))
            else:
                node.function = OPERATIONS[node.kind](attributes)
            attributes.finish()
            self._fold(node)
        except ConversionError:
            raise
        except FAULTS as error:
            reason = " ".join(str(error).split())
            raise refusal(_OPERATION, place, "a node that can be expressed", reason) from None
        self.known.update(name for name in node.outputs if name)
        self.used.update(node.inputs)

    def _add_recurrent(self, node: Node, recurrent: RecurrentNode) -> None:
        """With constant weights the layers are built now, and are the graph's."""
        given = [name for i, name in enumerate(node.inputs) if i in (1, 2, 3, 7) and name]
        constant = all(name in self.constants for name in given)
        if constant:
            layers = recurrent.prepare([self.constants.get(name) for name in node.inputs])
            for name, layer in zip(recurrent.names(node.name), layers, strict=True):
                self.graph.layers.put(name, layer.eval())
            node.function = lambda values: recurrent.run(layers, values)
            if len(layers) == 1 and recurrent.reverse != (True,):
                node.plain = list(layers)
            self.used.update(given)
            node.inputs = [name if i not in (1, 2, 3, 7) else "" for i, name in enumerate(node.inputs)]
        else:
            node.function = lambda values: recurrent.run(recurrent.prepare(values), values)

    def _fold(self, node: Node) -> None:
        """A node of constants is computed now; any other joins the graph."""
        if node.kind in RECURRENT or not all(name in self.constants for name in node.inputs if name):
            self.graph.nodes.append(node)
            return
        values = node.function([self.constants[name] if name else None for name in node.inputs])
        self.constants.update((name, value) for name, value in zip(node.outputs, values, strict=False) if name)

    def _finish(self, weights: dict[str, Any]) -> None:
        graph = self.graph
        missing = [name for name in graph.outputs if name not in self.known]
        if missing:
            raise refusal(_OPERATION, self.origin, "every output to be computed", f"{', '.join(missing)} by no node")
        unused = [name for name in weights if name not in self.used and name not in graph.outputs]
        if unused:
            raise refusal(_OPERATION, self.origin, "a use for each weight", f"unused {', '.join(unused)}")
        as_layers(graph, self.constants)
        read = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
        for name, value in self.constants.items():
            if name in read and name not in graph.constants:
                if isinstance(value, Tensor):
                    value = nn.Parameter(value)
                    graph.weights.put(name, value)
                graph.constants[name] = value
