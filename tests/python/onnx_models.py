"""ONNX models made for tests, and ONNX Runtime's answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402

from rnncore import convert  # noqa: E402
from rnncore.convert import ConversionError  # noqa: E402

Array = np.ndarray[Any, Any]


def model_of(
    nodes: Any, inputs: dict[str, Array], outputs: list[str], weights: dict[str, Array] | None = None, opset: int = 17
) -> Any:
    """A model whose inputs have the shapes of these arrays."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in inputs.items()}
    ports = [helper.make_tensor_value_info(name, kinds[name], value.shape) for name, value in inputs.items()]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "test", ports, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def by_runtime(runtime: Any, model: Any, inputs: dict[str, Array]) -> list[Array]:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


T, N, I, H = 5, 3, 4, 6  # noqa: E741
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent_node(
    kind: str, seed: int, *, peepholes: bool = False, without: tuple[str, ...] = (), **attributes: Any
) -> tuple[Any, dict[str, Array], dict[str, Array]]:
    """A node with random weights: the node, its inputs and its weights."""
    rng = np.random.default_rng(seed)

    def values(*shape: int) -> Array:
        return rng.uniform(-0.9, 0.9, shape).astype(np.float32)

    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[kind] * H
    inputs = {
        "X": values(T, N, I),
        "sequence_lens": np.array([5, 2, 3], np.int32),
        "initial_h": values(directions, N, H),
    }
    weights = {"W": values(directions, rows, I), "R": values(directions, rows, H), "B": values(directions, 2 * rows)}
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    if kind == "LSTM":
        inputs["initial_c"] = values(directions, N, H)
        names.append("initial_c")
    if peepholes:
        weights["P"] = values(directions, 3 * H)
        names.append("P")
    for name in without:
        inputs.pop(name, None)
        weights.pop(name, None)
    given = [name if name in inputs or name in weights else "" for name in names]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    return helper.make_node(kind, given, outputs, hidden_size=H, **attributes), inputs, weights


def refused(model: Any, match: str) -> None:
    """The model is not converted, for a reason that says `match`."""
    with pytest.raises(ConversionError, match=match):
        convert.from_onnx(model)
