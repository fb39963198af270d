"""Options of recurrent cells as keyword arguments, and as the engine's "options" (the same as in a model file)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from rnncore._core import activation_names
from rnncore._messages import message, real

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
    numbers = {
        name: float(real(operation, argument, value)) for name, value in zip(("alpha", "beta"), parts[1:], strict=False)
    }
    return {"kind": parts[0], **numbers}


def cell_options(
    operation: str,
    activations: Mapping[str, ActivationChoice] | None = None,
    zoneout: float | tuple[float, float] = 0.0,
    **given: Any,
) -> dict[str, Any]:
    """The options as the engine takes them. zoneout: of h, or of h and c."""
    options: dict[str, Any] = dict(given)
    pair = zoneout if isinstance(zoneout, (tuple, list)) else (zoneout, 0.0)
    if len(pair) != 2:
        raise ValueError(message(operation, "zoneout", "a probability, or those of h and of c", repr(zoneout)))
    h, c = pair
    options |= {"zoneout_h": h, "zoneout_c": c}
    options = {name: value for name, value in options.items() if value != _USUAL.get(name, 0)}
    if activations is not None and not isinstance(activations, Mapping):
        expected = "a dict from places to activations, such as {'candidate': 'relu'}"
        raise TypeError(message(operation, "activations", expected, repr(activations)))
    if activations:
        options["activations"] = {
            place: activation(operation, f"activations[{place!r}]", choice) for place, choice in activations.items()
        }
    check_finite(operation, options)
    return options


def check_finite(operation: str, options: Any, where: str = "") -> None:
    """No NaN and no infinity, which JSON has no word for, anywhere in a specification.

    >>> check_finite("lstm", {"activations": {"gate": {"alpha": float("nan")}}})
    Traceback (most recent call last):
    ValueError: [lstm] activations.gate.alpha: expected a finite number, got nan
    """
    if isinstance(options, float) and not math.isfinite(options):
        raise ValueError(message(operation, where, "a finite number", str(options)))
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(options, Mapping):
        inside = ((f".{name}" if where else name, value) for name, value in options.items())
    elif isinstance(options, (list, tuple)):
        inside = ((f"[{i}]", value) for i, value in enumerate(options))
    for name, value in inside:
        check_finite(operation, value, f"{where}{name}")


# Defaults other than 0 and False.
_USUAL = {"forget_gate": True, "leak": 1.0}
