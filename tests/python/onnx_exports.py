"""What the tests of written ONNX files share: values for a model's inputs, and ONNX Runtime as a function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnncore.data import Vocabulary

onnx = pytest.importorskip("onnx")
Array = np.ndarray[Any, Any]
T, N, I = 6, 2, 3  # noqa: E741
WORDS = Vocabulary.build("abcdef!", level="char")


def inputs_for(model: Any, seed: int = 0, *, steps: int = T) -> dict[str, Array]:
    """Random values for the inputs of a model."""
    rng = np.random.default_rng(seed)
    sizes = {"T": steps, "N": N}
    values: dict[str, Array] = {}
    for port in model.graph.input:
        kind = port.type.tensor_type
        shape = [sizes.get(axis.dim_param) or axis.dim_value for axis in kind.shape.dim]
        if kind.elem_type == onnx.TensorProto.INT64:
            values[port.name] = rng.integers(0, 7, shape)
        elif kind.elem_type == onnx.TensorProto.BOOL:
            values[port.name] = np.array([True, False])
        elif kind.elem_type == onnx.TensorProto.INT32:
            values[port.name] = np.array([steps, 1], np.int32)
        else:
            dtype = np.float64 if kind.elem_type == onnx.TensorProto.DOUBLE else np.float32
            values[port.name] = rng.uniform(-1, 1, shape).astype(dtype)
    return values


def runner(model: Any) -> Any:
    """A function from inputs to outputs, both by name, by ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))
