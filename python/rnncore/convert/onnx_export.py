"""To ONNX: recurrent stacks and chains, with their states as inputs and outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore import _core, nn
from rnncore.convert._errors import need, refusal
from rnncore.convert._onnx_cells import describe_layer
from rnncore.convert.chain import RECURRENT, LastStep, leaves_of
from rnncore.convert.graph import Array

_OPERATION = "to_onnx"
OLDEST = 17  # LayerNormalization


def to_onnx(
    module: nn.Module, path: str | os.PathLike[str] | None = None, *, opset: int = OLDEST, lengths: bool = False
) -> Any:
    """The ONNX model that computes what `module` computes.

    Args:
        module: A recurrent module or cell, Embedding, Linear, LayerNorm, Dropout, activations, a `Sequential` or
            `Chain` of them, or a `models.LanguageModel`.
        path: Where to write it (atomically). Default: nowhere.
        opset: The operator set, 17 or newer.
        lengths: Whether there is an input "lengths" (N) int32. Default: no.

    Returns:
        The onnx.ModelProto. Inputs: "input", then "h_0" (layers * directions, N, H) and "c_0" of each recurrent layer;
        outputs: "output", "h_n", "c_n", shaped alike, so that feeding states back streams a sequence in pieces of any
        length. Time is the first axis unless the first recurrent layer has batch_first; a cell takes one step. With
        several recurrent modules the states are called "NAME.h_0". Where the layers of a stack differ in size, there is
        one state per layer: "h_0.l0" (directions, N, H_0). Time and batch are free.

    Raises:
        ConversionError: naming the layer that ONNX cannot express.
        ImportError: `onnx` is not installed (the extra "onnx").
    """
    onnx = need(_OPERATION, "onnx", "onnx")
    if opset < OLDEST:
        raise ValueError(f"[{_OPERATION}] opset: expected {OLDEST} or newer, got {opset}")
    model = _Writer(onnx, leaves_of(module), lengths, opset).model()
    vocabulary = getattr(module, "vocabulary", None)
    if vocabulary is not None:
        onnx.helper.set_model_props(model, {"rnncore.vocabulary": json.dumps(vocabulary.to_json())})
    if path is not None:
        _core.write_file_atomically(os.fspath(path), model.SerializeToString())
    return model


class _Writer:
    """Nodes, initialisers, inputs and outputs of one graph, gathered layer by layer."""

    def __init__(self, onnx: Any, leaves: dict[str, nn.Module], lengths: bool, opset: int) -> None:
        self.onnx = onnx
        self.opset = opset
        self.nodes: list[Any] = []
        self.weights: dict[str, Array] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.lengths = lengths
        self.dtype = _dtype(leaves)
        recurrent = [name for name, leaf in leaves.items() if isinstance(leaf, RECURRENT)]
        if lengths and not recurrent:
            raise ValueError(f"[{_OPERATION}] lengths: expected a recurrent layer, got none")
        first = next(iter(leaves.values()))
        steps = _leading_axes([leaves[name] for name in recurrent], first)
        if isinstance(first, nn.Embedding):
            self._add_input("input", "INT64", steps)
        else:
            width = next((getattr(first, name) for name in _WIDTHS if hasattr(first, name)), "I")
            self._add_input("input", self._float(), [*steps, width])
        if lengths:
            self._add_input("lengths", "INT32", ["N"])
        value = "input"
        for name, leaf in leaves.items():
            value = self._layer(name, leaf, value, name if len(recurrent) > 1 else "")
        self.nodes.append(onnx.helper.make_node("Identity", [value], ["output"], name="output"))
        axes = ["N", "O"] if any(isinstance(leaf, LastStep) for leaf in leaves.values()) else [*steps, "O"]
        self.outputs.insert(0, self._info("output", self._float(), axes))

    def model(self) -> Any:
        """The whole model, checked."""
        helper = self.onnx.helper
        weights = [self.onnx.numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, "rnncore", self.inputs, self.outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="rnncore")
        model.ir_version = helper.find_min_ir_version_for(model.opset_import)  # so that older runtimes read it
        self.onnx.checker.check_model(model)
        return model

    # Pieces ------------------------------------------------------------------------------------------------

    def _float(self) -> str:
        return "DOUBLE" if self.dtype == "float64" else "FLOAT"

    def _info(self, name: str, kind: str, shape: Sequence[Any] | None) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, kind), shape)

    def _add_input(self, name: str, kind: str, shape: Sequence[Any] | None) -> None:
        self.inputs.append(self._info(name, kind, shape))

    def _weight(self, name: str, value: Array) -> str:
        self.weights[name] = np.array(value, order="C")
        return name

    def _node(self, kind: str, inputs: Sequence[str], name: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        names = list(outputs) or [f"{name}.output"]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names[0]

    def _layer(self, name: str, leaf: Any, value: str, prefix: str) -> str:
        own = name or type(leaf).__name__.lower()
        if isinstance(leaf, RECURRENT):
            return self._stack(own, leaf, value, f"{prefix}." if prefix else "")
        if isinstance(leaf, _CELLS):
            return self._cell(own, leaf, value)
        if isinstance(leaf, nn.Embedding):
            return self._node("Gather", [self._weight(f"{own}.weight", leaf.weight.numpy()), value], own)
        if isinstance(leaf, nn.Linear):
            return self._linear(own, leaf, value)
        if isinstance(leaf, nn.LayerNorm):
            parameters = [self._weight(f"{own}.weight", leaf.weight.numpy())]
            if leaf.bias is not None:
                parameters.append(self._weight(f"{own}.bias", leaf.bias.numpy()))
            return self._node("LayerNormalization", [value, *parameters], own, axis=-1, epsilon=leaf.eps)
        if isinstance(leaf, nn.Softmax | nn.LogSoftmax):
            return self._node(type(leaf).__name__, [value], own, axis=leaf.dim)
        if type(leaf) in _FUNCTIONS:
            return self._node(_FUNCTIONS[type(leaf)], [value], own)
        if isinstance(leaf, LastStep):
            return self._last_step(own, leaf, value)
        if isinstance(leaf, nn.Dropout):
            return value
        place = f"layer {name!r} ({type(leaf).__name__})" if name else type(leaf).__name__
        raise refusal(_OPERATION, place, "a layer that ONNX can express", type(leaf).__name__)

    def _linear(self, name: str, leaf: nn.Linear, value: str) -> str:
        weight = self._weight(f"{name}.weight", leaf.weight.numpy().T)
        product = self._node("MatMul", [value, weight], f"{name}.product" if leaf.bias is not None else name)
        if leaf.bias is None:
            return product
        return self._node("Add", [product, self._weight(f"{name}.bias", leaf.bias.numpy())], name)

    def _last_step(self, name: str, leaf: LastStep, value: str) -> str:
        """Of the forward direction the last step, of the reverse one the first."""
        axis = 1 if leaf.batch_first else 0
        last = self._weight("step_last", np.array(-1, np.int64))
        if leaf.directions == 1:
            return self._node("Gather", [value, last], name, axis=axis)
        first = self._weight("step_first", np.array(0, np.int64))
        halves = [f"{name}.ahead", f"{name}.back"]
        self._node("Split", [value], f"{name}.split", halves, axis=2, **self._two_outputs())
        ends = [
            self._node("Gather", [half, step], f"{half}.end", axis=axis)
            for half, step in zip(halves, (last, first), strict=True)
        ]
        return self._node("Concat", ends, name, axis=1)

    def _two_outputs(self) -> dict[str, int]:
        return {"num_outputs": 2} if self.opset >= 18 else {}

    def _stack(self, name: str, leaf: Any, value: str, prefix: str) -> str:
        if leaf.batch_first:
            value = self._node("Transpose", [value], f"{name}.time_first", perm=[1, 0, 2])
        layers = [describe_layer(leaf, k, f"layer {name!r}") for k in range(leaf.num_layers)]
        kinds = [["h"] if layer.kind != "LSTM" else ["h", "c"] for layer in layers]
        stacked = len({(layer.hidden_size, tuple(kind)) for layer, kind in zip(layers, kinds, strict=True)}) == 1
        directions = 2 if leaf.bidirectional else 1
        before = self._states_in(prefix, layers, kinds, directions, stacked)
        after: list[dict[str, str]] = []
        for k, layer in enumerate(layers):
            own = f"{name}.l{k}"
            weights = [self._weight(f"{own}.{one}", array) for one, array in layer.weights.items()]
            bias = [] if "B" in layer.weights else [""]
            inputs = [
                value,
                *weights[: len(layer.weights) - ("P" in layer.weights)],
                *bias,
                "lengths" if self.lengths else "",
            ]
            inputs += [before[k][kind] for kind in kinds[k]]
            if "P" in layer.weights:
                inputs.append(weights[-1])
            after.append({kind: f"{own}.{kind}_n" for kind in kinds[k]})
            self._node(layer.kind, inputs, own, [f"{own}.Y", *after[k].values()], **layer.attributes)
            value = self._merged(own, f"{own}.Y", directions)
        self._states_out(prefix, layers, after, directions, stacked)
        if leaf.batch_first:
            value = self._node("Transpose", [value], f"{name}.batch_first", perm=[1, 0, 2])
        return value

    def _merged(self, name: str, value: str, directions: int) -> str:
        """Y (T, D, N, H) as (T, N, D*H)."""
        if directions == 1:
            axes = self._weight("axis_1", np.array([1], np.int64))
            return self._node("Squeeze", [value, axes], f"{name}.one_direction")
        shape = self._weight("keep_keep_rest", np.array([0, 0, -1], np.int64))
        turned = self._node("Transpose", [value], f"{name}.directions_last", perm=[0, 2, 1, 3])
        return self._node("Reshape", [turned, shape], f"{name}.both_directions")

    def _states_in(
        self, prefix: str, layers: Sequence[Any], kinds: Sequence[list[str]], directions: int, stacked: bool
    ) -> list[dict[str, str]]:
        """Declares the initial states; per layer the name of each."""
        if not stacked:
            names = [{kind: f"{prefix}{kind}_0.l{k}" for kind in own} for k, own in enumerate(kinds)]
            for layer, own in zip(layers, names, strict=True):
                for name in own.values():
                    self._add_input(name, self._float(), [directions, "N", layer.hidden_size])
            return names
        result: list[dict[str, str]] = [{} for _ in layers]
        for kind in kinds[0]:
            whole = f"{prefix}{kind}_0"
            self._add_input(whole, self._float(), [len(layers) * directions, "N", layers[0].hidden_size])
            parts = [f"{whole}.l{k}" for k in range(len(layers))] if len(layers) > 1 else [whole]
            if len(layers) > 1:
                sizes = self._weight(f"{whole}.sizes", np.full(len(layers), directions, np.int64))
                self._node("Split", [whole, sizes], f"{whole}.split", parts, axis=0)
            for own, part in zip(result, parts, strict=True):
                own[kind] = part
        return result

    def _states_out(
        self, prefix: str, layers: Sequence[Any], after: Sequence[dict[str, str]], directions: int, stacked: bool
    ) -> None:
        if not stacked:
            for k, (layer, own) in enumerate(zip(layers, after, strict=True)):
                for kind, name in own.items():
                    self._add_output(f"{prefix}{kind}_n.l{k}", [name], [directions, "N", layer.hidden_size])
            return
        for kind in after[0]:
            parts = [own[kind] for own in after]
            self._add_output(f"{prefix}{kind}_n", parts, [len(layers) * directions, "N", layers[0].hidden_size])

    def _add_output(self, name: str, parts: Sequence[str], shape: Sequence[Any]) -> None:
        self._node("Concat", parts, f"{name}.stacked", [name], axis=0)
        self.outputs.append(self._info(name, self._float(), shape))

    def _cell(self, name: str, leaf: Any, value: str) -> str:
        """One step: a sequence of length 1."""
        layer = describe_layer(leaf, 0, f"layer {name!r}")
        axis = self._weight("axis_0", np.array([0], np.int64))
        kinds = ["h", "c"] if layer.kind == "LSTM" else ["h"]
        inputs = [self._node("Unsqueeze", [value, axis], f"{name}.input")]
        inputs += [self._weight(f"{name}.{one}", array) for one, array in layer.weights.items()]
        inputs += ["", ""] if "B" not in layer.weights else [""]
        for kind in kinds:
            self._add_input(f"{kind}_0", self._float(), ["N", layer.hidden_size])
            inputs.append(self._node("Unsqueeze", [f"{kind}_0", axis], f"{name}.{kind}_0"))
        after = [f"{name}.{kind}_n" for kind in kinds]
        self._node(layer.kind, inputs, name, ["", *after], **layer.attributes)
        for kind, one in zip(kinds, after, strict=True):
            self._node("Squeeze", [one, axis], f"{kind}_n", [f"{kind}_n"])
            self.outputs.append(self._info(f"{kind}_n", self._float(), ["N", layer.hidden_size]))
        return "h_n"


def _leading_axes(recurrent: Sequence[Any], first: nn.Module) -> list[str]:
    """The axes before the features."""
    if isinstance(first, _CELLS):
        return ["N"]
    return ["N", "T"] if recurrent and recurrent[0].batch_first else ["T", "N"]


def _dtype(leaves: dict[str, nn.Module]) -> str:
    dtypes = {parameter.dtype for leaf in leaves.values() for parameter in leaf.parameters()}
    if len(dtypes) > 1:
        raise refusal(_OPERATION, "model", "parameters of one dtype", ", ".join(sorted(dtypes)))
    return dtypes.pop() if dtypes else "float32"


_WIDTHS = ("input_size", "in_features", "size")  # what layers call the size of their input
_CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
_FUNCTIONS: dict[type[nn.Module], str] = {nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid", nn.ReLU: "Relu"}
