"""The attributes of an ONNX node, each of which must be understood."""

from __future__ import annotations

from typing import Any

import numpy as np


class Attributes:
    """Attributes by name; `finish` refuses those that nobody asked for.

    Args:
        onnx: The package.
        node: A NodeProto.
        opset: The version of the default operator set.
    """

    def __init__(self, onnx: Any, node: Any, opset: int) -> None:
        self.opset = opset
        self.outputs = len(node.output)
        self._onnx = onnx
        self._left: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.name in self._left:
                raise ValueError(f"attribute {attribute.name}: expected once, got twice")
            self._left[attribute.name] = self._value(attribute)

    def _value(self, attribute: Any) -> Any:
        kinds = self._onnx.AttributeProto
        if attribute.ref_attr_name:
            raise ValueError(f"attribute {attribute.name}: expected a value, got a reference")
        if attribute.type == kinds.INT:
            return attribute.i
        if attribute.type == kinds.INTS:
            return list(attribute.ints)
        if attribute.type == kinds.FLOAT:
            return _shortest(attribute.f)
        if attribute.type == kinds.FLOATS:
            return [_shortest(value) for value in attribute.floats]
        if attribute.type == kinds.STRING:
            return attribute.s.decode("utf-8", "replace")
        if attribute.type == kinds.STRINGS:
            return [text.decode("utf-8", "replace") for text in attribute.strings]
        if attribute.type == kinds.TENSOR:
            return np.array(self._onnx.numpy_helper.to_array(attribute.t))
        kind = kinds.AttributeType.Name(attribute.type)
        raise ValueError(f"attribute {attribute.name}: expected numbers, text or a tensor, got {kind}")

    def left(self) -> dict[str, Any]:
        """Those not taken yet, with their values."""
        return dict(self._left)

    def names(self) -> list[str]:
        """Those not taken yet."""
        return list(self._left)

    def take(self, name: str, default: Any) -> Any:
        """The value of an attribute, of the default's type where that is a number or a text."""
        value = self._left.pop(name, default)
        if isinstance(default, (int, float, str)) and not isinstance(value, type(default)):
            raise ValueError(f"attribute {name}: expected {type(default).__name__}, got {value!r}")
        return value

    def dtype(self, name: str) -> str:
        """A dtype given as ONNX' number for it, e.g. "float32"."""
        number = self.take(name, 0)
        try:
            dtype = np.dtype(self._onnx.helper.tensor_dtype_to_np_dtype(number))
        except (KeyError, ValueError, TypeError):
            dtype = np.dtype(object)
        if dtype.name not in KNOWN_DTYPES:
            raise ValueError(f"attribute {name}: expected one of {', '.join(KNOWN_DTYPES)}, got {number}")
        return str(dtype.name)

    def finish(self) -> None:
        """ValueError naming the attributes that were not taken."""
        if self._left:
            raise ValueError(f"attributes: expected none but known ones, got {', '.join(self._left)}")


def _shortest(value: float) -> float:
    """The shortest decimal number that is this float32: 0.1, where the file's 32 bits stand for 0.10000000149."""
    return float(str(np.float32(value)))


KNOWN_DTYPES = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
