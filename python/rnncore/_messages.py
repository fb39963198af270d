"""The one form of an error message: ``[operation] argument: expected E, got G; hint`` (as in cpp error.hpp)."""

from __future__ import annotations


def message(operation: str, argument: str, expected: str, got: str, hint: str = "") -> str:
    """Build ``[operation] argument: expected E, got G; hint`` (the hint is optional).

    >>> message("corpus", "text", "at least 2 tokens", "1")
    '[corpus] text: expected at least 2 tokens, got 1'
    """
    text = f"[{operation}] {argument}: expected {expected}, got {got}"
    return f"{text}; {hint}" if hint else text


def positive(operation: str, argument: str, value: int) -> int:
    """Return `value` if it is at least 1.

    Raises:
        ValueError: it is zero or negative.
    """
    if value < 1:
        raise ValueError(message(operation, argument, "at least 1", str(value)))
    return value
