"""The one form of an error message: ``[operation] argument: expected E, got G; hint`` (as in cpp error.hpp)."""

from __future__ import annotations

import math
from operator import index
from typing import Any


def message(operation: str, argument: str, expected: str, got: str, hint: str = "") -> str:
    """Build ``[operation] argument: expected E, got G; hint`` (the hint is optional).

    >>> message("corpus", "text", "at least 2 tokens", "1")
    '[corpus] text: expected at least 2 tokens, got 1'
    """
    text = f"[{operation}] {argument}: expected {expected}, got {got}"
    return f"{text}; {hint}" if hint else text


def real(operation: str, argument: str, value: Any) -> float:
    """Return `value` if it is a finite number.

    >>> real("lstm", "forget_bias", 1)
    1

    Raises:
        TypeError: it is no number.
        ValueError: NaN or an infinity.
    """
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise TypeError(message(operation, argument, "a number", repr(value)))
    if not math.isfinite(value):
        raise ValueError(message(operation, argument, "a finite number", str(value)))
    return value  # type: ignore[no-any-return]


def flags(operation: str, **values: Any) -> None:
    """TypeError naming the first value that is neither True nor False."""
    for name, value in values.items():
        if not isinstance(value, int | bool) and type(value).__name__ not in ("bool", "bool_"):
            raise TypeError(message(operation, name, "True or False", repr(value)))


def whole_numbers(operation: str, argument: str, values: Any) -> list[int]:
    """The values of a sequence as ints.

    >>> whole_numbers("layer", "delays", (2, 5))
    [2, 5]

    Raises:
        TypeError: no sequence, or one of something else.
    """
    try:
        return [index(value) for value in values]
    except TypeError:
        raise TypeError(message(operation, argument, "integers", repr(values))) from None


def positive(operation: str, argument: str, value: int) -> int:
    """Return `value` if it is at least 1.

    Raises:
        ValueError: it is zero or negative.
    """
    if value < 1:
        raise ValueError(message(operation, argument, "at least 1", str(value)))
    return value
