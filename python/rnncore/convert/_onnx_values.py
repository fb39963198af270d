"""Nodes of ONNX that move and count values: shapes, constants, slices. Elementwise and products: _onnx_math.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnncore import _core
from rnncore._core import Tensor
from rnncore.convert._onnx_attributes import Attributes
from rnncore.convert.graph import Array, Function, as_array, as_value, values_of

_LARGEST = 2**28
Builder = Callable[[Attributes], Function]


def off_tape(function: Callable[..., Any]) -> Function:
    """An operation that only NumPy has: its result is a constant of the tape, so inputs may not need gradients."""

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        if _core.grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in values):
            raise TypeError("this operation has no gradient here; run() and no_grad() need none")
        result = function(*(None if value is None else as_array(value) for value in values))
        return values_of(result if isinstance(result, list) else [result])

    return apply


def integers(value: Any) -> list[int]:
    """A small array of integers, as sizes and axes are given."""
    array = as_array(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"expected integers, got {array.dtype}")
    return [int(number) for number in array.reshape(-1)]


def _sizes(shape: Sequence[int]) -> Sequence[int]:
    """A shape that a few bytes of a file may ask for."""
    if math.prod(shape) > _LARGEST or min(shape, default=0) < 0:
        raise ValueError(f"shape: expected at most {_LARGEST} numbers, got {list(shape)}")
    return shape


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis: expected within [{-ndim}, {ndim}), got {axis}")
    return axis % ndim


def identity(attributes: Attributes) -> Function:
    """Y = x."""
    return lambda values: [values[0]]


def dropout(attributes: Attributes) -> Function:
    """Inference: y = x, and a mask of ones where it is asked for."""
    for name in ("ratio", "seed", "is_test", "consumed_inputs"):
        attributes.take(name, None)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        if len(values) > 2 and values[2] is not None and bool(as_array(values[2])):
            raise ValueError("training_mode: expected false, got true")
        return [values[0], np.ones(as_array(values[0]).shape, bool)]

    return apply


def constant(attributes: Attributes) -> Function:
    """A value from the file."""
    given = {name: attributes.take(name, None) for name in attributes.names()}
    if len(given) != 1:
        raise ValueError(f"expected one value, got {list(given)}")
    name, value = next(iter(given.items()))
    kinds: dict[str, Any] = {
        "value": None,
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    if name not in kinds:
        raise ValueError(f"expected one of {list(kinds)}, got {name}")
    result = as_value(value if kinds[name] is None else np.asarray(value, kinds[name]))
    return lambda values: [result]


def constant_of_shape(attributes: Attributes) -> Function:
    """A tensor of one value, by default a float32 zero."""
    value = attributes.take("value", np.zeros(1, np.float32)).reshape(-1)
    if value.size != 1:
        raise ValueError(f"value: expected one number, got {value.size}")
    return off_tape(lambda shape: np.full(_sizes(integers(shape)), value[0], value.dtype))


def shape(attributes: Attributes) -> Function:
    """The shape, or a part of it."""
    start, end = attributes.take("start", 0), attributes.take("end", None)
    return lambda values: [np.asarray(as_array(values[0]).shape[start:end], np.int64)]


def cast(attributes: Attributes) -> Function:
    """Another dtype."""
    dtype = attributes.dtype("to")
    attributes.take("saturate", None)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        value = values[0]
        if isinstance(value, Tensor) and dtype in ("float32", "float64"):
            return [value if value.dtype == dtype else value.to(dtype)]
        return off_tape(lambda array: array.astype(dtype))(values)

    return apply


def reshape(attributes: Attributes) -> Function:
    """Other axes, the same numbers; 0 keeps an axis unless allowzero."""
    keep_zero = attributes.take("allowzero", 0)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        own = values[0].shape
        sizes = integers(values[1])
        if not keep_zero:
            if any(size == 0 and i >= len(own) for i, size in enumerate(sizes)):
                raise ValueError(f"shape: expected no 0 beyond the {len(own)} axes of the input, got {sizes}")
            sizes = [own[i] if size == 0 else size for i, size in enumerate(sizes)]
        return [values[0].reshape(sizes)]

    return apply


def flatten(attributes: Attributes) -> Function:
    """Two axes: the product of those before `axis`, and of the rest."""
    axis = attributes.take("axis", 1)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        own = values[0].shape
        cut = axis if axis >= 0 else len(own) + axis
        return [values[0].reshape([int(np.prod(own[:cut])), int(np.prod(own[cut:]))])]

    return apply


def transpose(attributes: Attributes) -> Function:
    """Axes in another order; by default reversed."""
    given = attributes.take("perm", None)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        value = values[0]
        ndim = len(value.shape)
        order = list(reversed(range(ndim))) if given is None else list(given)
        if sorted(order) != list(range(ndim)):
            raise ValueError(f"perm: expected an order of {ndim} axes, got {order}")
        if not isinstance(value, Tensor):
            return [value.transpose(order)]
        now = list(range(ndim))  # swaps, each of which is on the tape
        for i, axis in enumerate(order):
            j = now.index(axis)
            if i != j:
                value = value.transpose(i, j)
                now[i], now[j] = now[j], now[i]
        return [value]

    return apply


def _axes_of(attributes: Attributes) -> Callable[[Sequence[Any]], list[int] | None]:
    """Axes as an attribute (before opset 13) or as the second input."""
    given = attributes.take("axes", None)

    def axes(values: Sequence[Any]) -> list[int] | None:
        if len(values) > 1 and values[1] is not None:
            return integers(values[1])
        return None if given is None else list(given)

    return axes


def squeeze(attributes: Attributes) -> Function:
    """Without these axes of length 1, or without all of them."""
    axes_of = _axes_of(attributes)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        own = values[0].shape
        axes = axes_of(values)
        drop = {i for i, size in enumerate(own) if size == 1} if axes is None else {_axis(a, len(own)) for a in axes}
        if any(own[i] != 1 for i in drop):
            raise ValueError(f"axes: expected axes of length 1, got {axes} of shape {own}")
        return [values[0].reshape([size for i, size in enumerate(own) if i not in drop])]

    return apply


def unsqueeze(attributes: Attributes) -> Function:
    """With new axes of length 1."""
    axes_of = _axes_of(attributes)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        sizes = list(values[0].shape)
        axes = axes_of(values) or []
        ndim = len(sizes) + len(axes)
        for axis in sorted({_axis(axis, ndim) for axis in axes}):
            sizes.insert(axis, 1)
        if len(sizes) != ndim:
            raise ValueError(f"axes: expected each once, got {axes}")
        return [values[0].reshape(sizes)]

    return apply


def concat(attributes: Attributes) -> Function:
    """Along one axis."""
    axis = attributes.take("axis", 1)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        if all(isinstance(value, Tensor) for value in values):
            return [_core.cat(list(values), axis)]
        return [np.concatenate(values, axis)]

    return apply


def split(attributes: Attributes) -> Function:
    """Parts along one axis: of the given sizes, or as even as can be."""
    axis, given, count = (
        attributes.take("axis", 0),
        attributes.take("split", None),
        attributes.take("num_outputs", None),
    )
    count = count or attributes.outputs

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        value = values[0]
        along = _axis(axis, len(value.shape))
        size = value.shape[along]
        step = -(-size // count)
        sizes = integers(values[1]) if len(values) > 1 and values[1] is not None else given
        sizes = [min(step, max(size - i * step, 0)) for i in range(count)] if sizes is None else list(sizes)
        if sum(sizes) != size or min(sizes) < 0:
            raise ValueError(f"split: expected sizes that add up to {size}, got {sizes}")
        ends = np.cumsum(sizes)
        return [_part(value, along, int(end) - n, int(end), 1) for end, n in zip(ends, sizes, strict=True)]

    return apply


def _part(value: Any, axis: int, start: int | None, stop: int | None, step: int) -> Any:
    if isinstance(value, Tensor) and step == 1:
        length = value.shape[axis]
        first, last, _ = slice(start, stop).indices(length)
        return _core.slice(value, axis, first, max(first, last))
    key = (slice(None),) * axis + (slice(start, stop, step),)
    return value[key]


def slice_(attributes: Attributes) -> Function:
    """A range along some axes. Before opset 10 the ranges are attributes."""
    given = [attributes.take(name, None) for name in ("starts", "ends", "axes")]

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        value = values[0]
        inputs = [None if part is None else integers(part) for part in values[1:]]
        starts, ends, axes, steps = (*(inputs or given), None, None)[:4]
        if starts is None or ends is None or len(starts) != len(ends):
            raise ValueError(f"starts, ends: expected two lists of one length, got {starts}, {ends}")
        axes = list(range(len(starts))) if axes is None else list(axes)
        steps = [1] * len(starts) if steps is None else list(steps)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            along = _axis(axis, len(value.shape))
            if step == 0:
                raise ValueError("steps: expected no zeros, got one")
            # A negative end beyond the start means "through the first element" when walking backwards.
            below = step < 0 and end < -value.shape[along]
            value = _part(value, along, start, None if below else end, step)
        return [value]

    return apply


def gather(attributes: Attributes) -> Function:
    """Entries along one axis by index."""
    axis = attributes.take("axis", 0)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        data, indices = values[0], as_array(values[1])
        along = _axis(axis, len(data.shape))
        size = data.shape[along]
        if indices.dtype.kind not in "iu":
            raise TypeError(f"indices: expected integers, got {indices.dtype}")
        if indices.size and not (-size <= indices.min() and indices.max() < size):
            raise IndexError(f"indices: expected within [{-size}, {size}), got {indices.min()} to {indices.max()}")
        indices = np.where(indices < 0, indices + size, indices)
        if isinstance(data, Tensor) and along == 0 and len(data.shape) == 2:
            return [_core.embedding(data, indices.astype(np.int64))]
        if isinstance(data, Tensor) and indices.ndim == 0:
            part = _core.slice(data, along, int(indices), int(indices) + 1)
            return [part.reshape([n for i, n in enumerate(data.shape) if i != along])]
        return off_tape(lambda array, _: np.take(array, indices, along))(values)

    return apply


def expand(attributes: Attributes) -> Function:
    """Repeats axes of length 1 up to a shape."""

    def repeat(x: Array, to: Array) -> Array:
        return np.array(np.broadcast_to(x, _sizes(np.broadcast_shapes(x.shape, tuple(integers(to))))))

    return off_tape(repeat)


def tile(attributes: Attributes) -> Function:
    """Repeats along every axis."""

    def repeat(x: Array, repeats: Array) -> Array:
        times = integers(repeats)
        _sizes([*x.shape, *times])
        return np.array(np.tile(x, times))

    return off_tape(repeat)


def range_(attributes: Attributes) -> Function:
    """From start to limit."""

    def count(start: Any, limit: Any, delta: Any) -> Any:
        if not delta[()]:
            raise ValueError("delta: expected another number than 0, got 0")
        _sizes([max(int((limit[()] - start[()]) / delta[()]) + 1, 0)])
        return np.arange(start[()], limit[()], delta[()], dtype=start.dtype)

    return off_tape(count)


def reverse_sequence(attributes: Attributes) -> Function:
    """Each sequence reversed within its length."""
    batch_axis, time_axis = attributes.take("batch_axis", 1), attributes.take("time_axis", 0)
    if sorted((batch_axis, time_axis)) != [0, 1]:
        raise ValueError(f"batch_axis, time_axis: expected 0 and 1, got {batch_axis}, {time_axis}")

    def reverse(x: Array, lengths: Array) -> Array:
        result = np.array(x)
        for n, length in enumerate(lengths):
            if not 0 <= length <= x.shape[time_axis]:
                raise ValueError(f"sequence_lens: expected within [0, {x.shape[time_axis]}], got {length}")
            row: tuple[Any, ...] = (slice(0, length), n) if time_axis == 0 else (n, slice(0, length))
            result[row] = x[row][::-1]
        return result

    return off_tape(reverse)


OPERATIONS: dict[str, Builder] = {
    "Identity": identity,
    "Dropout": dropout,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Shape": shape,
    "Cast": cast,
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
    "Expand": expand,
    "Tile": tile,
    "Range": range_,
    "ReverseSequence": reverse_sequence,
}
