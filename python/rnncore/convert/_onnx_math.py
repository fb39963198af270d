"""Nodes of ONNX that compute: elementwise functions, products, reductions, softmax, normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from rnncore import _core
from rnncore._core import Tensor
from rnncore.convert._onnx_attributes import Attributes
from rnncore.convert._onnx_values import Builder, integers, off_tape
from rnncore.convert.graph import Function


def _unary(function: Callable[[Tensor], Tensor], for_arrays: Any = None) -> Builder:
    def build(attributes: Attributes) -> Function:
        attributes.take("consumed_inputs", None)

        def apply(values: Sequence[Any]) -> Sequence[Any]:
            if isinstance(values[0], Tensor):
                return [function(values[0])]
            if for_arrays is None:
                raise TypeError(f"expected float32 or float64, got {values[0].dtype}")
            return [for_arrays(values[0])]

        return apply

    return build


def _binary(function: Callable[[Any, Any], Any], for_arrays: Any) -> Builder:
    """Broadcasts as NumPy does. Floats through the engine, integers through NumPy."""

    def build(attributes: Attributes) -> Function:
        if attributes.take("broadcast", 0) or attributes.take("axis", None) is not None:
            raise ValueError("broadcast: expected the rules of opset 7, got older ones")

        def apply(values: Sequence[Any]) -> Sequence[Any]:
            a, b = values
            if isinstance(a, Tensor) and isinstance(b, Tensor):
                return [function(a, b)]
            if isinstance(a, Tensor) or isinstance(b, Tensor) or a.dtype != b.dtype:
                raise TypeError(f"expected two inputs of one dtype, got {a.dtype} and {b.dtype}")
            return [for_arrays(a, b)]

        return apply

    return build


def _integer_divide(a: Any, b: Any) -> Any:
    """Towards zero, as C does."""
    quotient = np.floor_divide(np.abs(a), np.abs(b))
    return (np.sign(a) * np.sign(b) * quotient).astype(a.dtype)


def _power(attributes: Attributes) -> Function:
    def apply(values: Sequence[Any]) -> Sequence[Any]:
        base, exponent = values
        numbers = exponent.detach().numpy() if isinstance(exponent, Tensor) else np.asarray(exponent)
        if isinstance(base, Tensor) and numbers.size == 1 and len(numbers.shape) <= len(base.shape):
            return [base.pow(float(numbers.reshape(())))]
        return off_tape(np.power)(values)

    return apply


def _numpy(function: Callable[..., Any]) -> Builder:
    return lambda attributes: off_tape(function)


def _with_alpha(alpha: float | None, beta: float | None, function: Callable[..., Any]) -> Builder:
    """An activation with parameters, off the tape; `function(x, alpha, beta)`."""

    def build(attributes: Attributes) -> Function:
        given = [
            attributes.take(name, value) for name, value in (("alpha", alpha), ("beta", beta)) if value is not None
        ]
        return off_tape(lambda x: function(x, *(x.dtype.type(value) for value in given)).astype(x.dtype))

    return build


def _clip(attributes: Attributes) -> Function:
    low, high = attributes.take("min", None), attributes.take("max", None)

    def clip(x: Any, minimum: Any = None, maximum: Any = None) -> Any:
        minimum = low if minimum is None else minimum
        maximum = high if maximum is None else maximum
        x = x if minimum is None else np.maximum(x, np.asarray(minimum, x.dtype))
        return x if maximum is None else np.minimum(x, np.asarray(maximum, x.dtype))

    return off_tape(clip)


def _matmul(attributes: Attributes) -> Function:
    def apply(values: Sequence[Any]) -> Sequence[Any]:
        a, b = values
        plain = isinstance(a, Tensor) and isinstance(b, Tensor) and len(a.shape) > 1 and len(b.shape) > 1
        if plain and (len(b.shape) == 2 or a.shape[:-2] == b.shape[:-2]):
            return [_core.matmul(a, b)]
        return off_tape(np.matmul)(values)

    return apply


def _gemm(attributes: Attributes) -> Function:
    """Y = alpha A' B' + beta C."""
    alpha, beta = attributes.take("alpha", 1.0), attributes.take("beta", 1.0)
    flip_a, flip_b = attributes.take("transA", 0), attributes.take("transB", 0)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        a, b = values[:2]
        c = values[2] if len(values) > 2 else None
        if not isinstance(a, Tensor) or not isinstance(b, Tensor) or len(a.shape) != 2 or len(b.shape) != 2:
            raise TypeError("expected two float matrices")
        a = a.transpose(0, 1) if flip_a else a
        if flip_b and c is not None and c.shape == (b.shape[0],) and alpha == 1 and beta == 1:
            return [_core.linear(a, b, c)]
        product = _core.linear(a, b) if flip_b else _core.matmul(a, b)
        product = product if alpha == 1 else product * alpha
        return [product if c is None else product + (c if beta == 1 else c * beta)]

    return apply


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Builder:
    def build(attributes: Attributes) -> Function:
        coerces = attributes.opset < 13  # the axes from `axis` on are one
        axis = attributes.take("axis", 1 if coerces else -1)

        def apply(values: Sequence[Any]) -> Sequence[Any]:
            x = values[0]
            if not isinstance(x, Tensor):
                raise TypeError(f"expected float32 or float64, got {x.dtype}")
            if not coerces or axis in (-1, len(x.shape) - 1):
                return [function(x, axis)]
            cut = axis % len(x.shape)
            rows = x.reshape([int(np.prod(x.shape[:cut])), int(np.prod(x.shape[cut:]))])
            return [function(rows, 1).reshape(list(x.shape))]

        return apply

    return build


def _reduce(function: Callable[..., Tensor] | None, for_arrays: Callable[..., Any]) -> Builder:
    """A reduction over some axes (attribute or second input), or all of them."""

    def build(attributes: Attributes) -> Function:
        given, keep = attributes.take("axes", None), bool(attributes.take("keepdims", 1))
        noop = attributes.take("noop_with_empty_axes", 0)

        def apply(values: Sequence[Any]) -> Sequence[Any]:
            x = values[0]
            axes = integers(values[1]) if len(values) > 1 and values[1] is not None else given
            if not axes and noop:
                return [x]
            axes = sorted({axis % len(x.shape) for axis in axes}) if axes else list(range(len(x.shape)))
            if function is None or not isinstance(x, Tensor):
                return off_tape(lambda array: for_arrays(array, axis=tuple(axes), keepdims=keep))([x])
            for axis in reversed(axes):
                x = function(x, axis, keep)
            return [x]

        return apply

    return build


def _arg_max(attributes: Attributes) -> Function:
    axis, keep = attributes.take("axis", 0), attributes.take("keepdims", 1)
    if attributes.take("select_last_index", 0):
        raise ValueError("select_last_index: expected 0, got 1")

    def arg_max(x: Any) -> Any:
        found = np.asarray(np.argmax(x, axis), np.int64)
        return np.expand_dims(found, axis) if keep else found

    return off_tape(arg_max)


def _layer_normalization(attributes: Attributes) -> Function:
    axis, epsilon = attributes.take("axis", -1), attributes.take("epsilon", 1e-5)
    attributes.take("stash_type", 1)

    def apply(values: Sequence[Any]) -> Sequence[Any]:
        x, scale = values[:2]
        shift = values[2] if len(values) > 2 else None
        if axis % len(x.shape) != len(x.shape) - 1:
            raise ValueError(f"axis: expected the last, got {axis} of {len(x.shape)} axes")
        return [_core.layer_norm(x, scale, shift, epsilon)]

    return apply


OPERATIONS: dict[str, Builder] = {
    "Add": _binary(lambda a, b: a + b, np.add),
    "Sub": _binary(lambda a, b: a - b, np.subtract),
    "Mul": _binary(lambda a, b: a * b, np.multiply),
    "Div": _binary(lambda a, b: a / b, _integer_divide),
    "Pow": _power,
    "Neg": _unary(_core.neg, np.negative),
    "Abs": _unary(_core.abs, np.abs),
    "Exp": _unary(_core.exp),
    "Log": _unary(_core.log),
    "Sqrt": _unary(_core.sqrt),
    "Tanh": _unary(_core.tanh),
    "Sigmoid": _unary(_core.sigmoid),
    "Relu": _unary(_core.relu, lambda a: np.maximum(a, 0)),
    "LeakyRelu": _with_alpha(0.01, None, lambda x, alpha: np.where(x < 0, alpha * x, x)),
    "ThresholdedRelu": _with_alpha(1.0, None, lambda x, alpha: np.where(x > alpha, x, 0)),
    "Elu": _with_alpha(1.0, None, lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)),
    "HardSigmoid": _with_alpha(0.2, 0.5, lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1)),
    "Softplus": _numpy(lambda x: np.logaddexp(x, x.dtype.type(0))),
    "Softsign": _numpy(lambda x: x / (1 + np.abs(x))),
    "Clip": _clip,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Softmax": _softmax(_core.softmax),
    "LogSoftmax": _softmax(_core.log_softmax),
    "LayerNormalization": _layer_normalization,
    "ReduceMean": _reduce(_core.mean, np.mean),
    "ReduceSum": _reduce(_core.sum, np.sum),
    "ReduceMax": _reduce(None, np.max),
    "ReduceMin": _reduce(None, np.min),
    "ReduceProd": _reduce(None, np.prod),
    "ArgMax": _arg_max,
    "Where": _numpy(np.where),
    "Equal": _numpy(np.equal),
    "Less": _numpy(np.less),
    "Greater": _numpy(np.greater),
    "LessOrEqual": _numpy(np.less_equal),
    "GreaterOrEqual": _numpy(np.greater_equal),
    "Not": _numpy(np.logical_not),
    "And": _numpy(np.logical_and),
    "Or": _numpy(np.logical_or),
    "Min": _numpy(lambda *x: reduce(np.minimum, x)),
    "Max": _numpy(lambda *x: reduce(np.maximum, x)),
}
