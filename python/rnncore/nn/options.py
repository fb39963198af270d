"""Options of recurrent cells as keyword arguments, and as the engine's "options" (the same as in a model file)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnncore._core import activation_names
from rnncore._messages import message

# A name, or (name, alpha) or (name, alpha, beta).
ActivationChoice = str | tuple[str, float] | tuple[str, float, float]


def activation(operation: str, argument: str, choice: Any) -> dict[str, Any]:
    """The engine's form of a choice.

    >>> activation("lstm", "activations", ("leaky-relu", 0.1))
    {'kind': 'leaky-relu', 'alpha': 0.1}
    """
    parts = (choice,) if isinstance(choice, str) else choice
    if not isinstance(parts, (tuple, list)) or not 1 <= len(parts) <= 3 or not isinstance(parts[0], str):
        raise TypeError(message(operation, argument, "a name, (name, alpha) or (name, alpha, beta)", repr(choice)))
    names = activation_names()
    if parts[0] not in names:
        raise ValueError(message(operation, argument, "one of " + ", ".join(names), repr(parts[0])))
    numbers = {name: float(value) for name, value in zip(("alpha", "beta"), parts[1:], strict=False)}
    return {"kind": parts[0], **numbers}


def cell_options(
    operation: str, activations: Mapping[str, ActivationChoice] | None = None, **given: Any
) -> dict[str, Any]:
    """The options that differ from "not given": None, False and 0 leave an option alone, as does forget_gate=True."""
    options = {name: value for name, value in given.items() if value is not None and value is not False and value != 0}
    if given.get("forget_gate") is False:
        options["forget_gate"] = False
    else:
        options.pop("forget_gate", None)
    if activations:
        options["activations"] = {
            place: activation(operation, f"activations[{place!r}]", choice) for place, choice in activations.items()
        }
    return options
