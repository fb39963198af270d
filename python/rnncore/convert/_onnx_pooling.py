"""One vector of a sequence as nodes of ONNX: its last step, its maximum, its mean; padded steps do not count."""

from __future__ import annotations

import numpy as np

from rnncore.convert._onnx_writer import Writer
from rnncore.convert.chain import LastStep, Pool


def write_last_step(writer: Writer, name: str, leaf: LastStep, value: str) -> str:
    """Of the forward direction the last step of each sequence, of the reverse one the first."""
    axis = 1 if leaf.batch_first else 0
    if leaf.directions == 1:
        return _last(writer, name, value, axis)
    halves = [f"{name}.ahead", f"{name}.back"]
    count = {"num_outputs": 2} if writer.opset >= 18 else {}
    writer.node("Split", [value], f"{name}.split", halves, axis=2, **count)
    last = _last(writer, f"{halves[0]}.end", halves[0], axis)
    first = writer.node("Gather", [halves[1], writer.integers("step_first", 0)], f"{halves[1]}.end", axis=axis)
    return writer.node("Concat", [last, first], name, axis=1)


def _last(writer: Writer, name: str, value: str, axis: int) -> str:
    if not writer.lengths:
        return writer.node("Gather", [value, writer.integers("step_last", -1)], name, axis=axis)
    steps, lengths = _steps(writer, name, value, axis)
    ends = writer.node("Sub", [lengths, writer.integers("one", 1)], f"{name}.ends")
    chosen = _masked(writer, name, writer.node("Equal", [steps, ends], f"{name}.is_end"), value, 0.0)
    return writer.reduced("ReduceSum", chosen, axis, name)


def write_pool(writer: Writer, name: str, leaf: Pool, value: str) -> str:
    """The maximum or mean over the valid steps of (T, N, D)."""
    kind = {"max": "ReduceMax", "mean": "ReduceMean"}[leaf.kind]
    if not writer.lengths:
        return writer.reduced(kind, value, 0, name)
    steps, lengths = _steps(writer, name, value, 0)
    valid = writer.node("Less", [steps, lengths], f"{name}.valid")
    if leaf.kind == "max":
        return writer.reduced(kind, _masked(writer, name, valid, value, -np.inf), 0, name)
    total = writer.reduced("ReduceSum", _masked(writer, name, valid, value, 0.0), 0, f"{name}.sum")
    kind_of_float = getattr(writer.onnx.TensorProto, writer.float_kind)
    count = writer.node("Cast", [lengths], f"{name}.count", to=kind_of_float)
    column = writer.node("Transpose", [count], f"{name}.column", perm=[1, 0])  # (1, N) as (N, 1)
    return writer.node("Div", [total, column], name)


def _steps(writer: Writer, name: str, value: str, axis: int) -> tuple[str, str]:
    """The number of each step and the lengths, int64, so shaped that they meet over time and batch."""
    shape = writer.node("Shape", [value], f"{name}.shape")
    length = writer.node("Gather", [shape, writer.integers(f"index_{axis}", axis)], f"{name}.length", axis=0)
    zero, one = writer.integers("zero", 0), writer.integers("one", 1)
    count = writer.node("Range", [zero, length, one], f"{name}.range")
    steps = writer.node("Unsqueeze", [count, writer.integers(f"axis_{1 - axis}", [1 - axis])], f"{name}.steps")
    whole = writer.node("Cast", [writer.lengths], f"{name}.lengths", to=writer.onnx.TensorProto.INT64)
    return steps, writer.node("Unsqueeze", [whole, writer.integers(f"axis_{axis}", [axis])], f"{name}.per_sequence")


def _masked(writer: Writer, name: str, mask: str, value: str, other: float) -> str:
    """The value where the mask (T, N) holds, else a number."""
    wide = writer.node("Unsqueeze", [mask, writer.integers("axis_2", [2])], f"{name}.mask")
    dtype = np.float64 if writer.float_kind == "DOUBLE" else np.float32
    fill = writer.weight(f"{name}.fill", np.array(other, dtype))
    return writer.node("Where", [wide, value, fill], f"{name}.masked")
