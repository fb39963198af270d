"""A converted model against what the original computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnncore._messages import message
from rnncore.convert._errors import ConversionError

# Largest absolute difference over largest absolute value. Two float32 implementations of one model differ by the order
# of their sums: some 1e-6 for the sizes met in practice; an exchanged gate or a transposed matrix gives 0.1 and more.
TOLERANCE = 1e-5


def verify(imported: Any, reference_outputs: Any, *inputs: Any, tolerance: float = TOLERANCE) -> float:
    """Checks that a converted model computes what the original computed.

    Args:
        imported: What a `from_...` function returned (then give `inputs`), or its outputs.
        reference_outputs: One array, or a sequence or mapping of arrays, from the original framework.
        inputs: What the original was given; batch and time in the imported model's order.
        tolerance: Largest absolute difference allowed, as a part of the largest absolute value. Default: 1e-5.

    Returns:
        The largest difference found, as a part of the largest value.

    Raises:
        ConversionError: naming the output that differs, and by how much.

    >>> verify([1.0, 2.0], [1.0, 2.0])
    0.0
    """
    got = _named(_outputs(imported, inputs))
    wanted = _named(reference_outputs)
    if got.keys() != wanted.keys():
        raise ConversionError(message("verify", "outputs", _list(wanted), _list(got)))
    worst = 0.0
    problems = []
    for name, reference in wanted.items():
        value = got[name]
        if value.shape != reference.shape:
            problems.append(f"{name}: expected shape {reference.shape}, got {value.shape}")
            continue
        difference = _difference(value, reference)
        worst = max(worst, difference)
        if not difference <= tolerance:
            problems.append(f"{name}: differs by {difference:.3g} of its largest value")
    if problems:
        raise ConversionError(message("verify", "outputs", f"equal to {tolerance:g}", "; ".join(problems)))
    return worst


def _difference(value: Any, reference: Any) -> float:
    if reference.size == 0:
        return 0.0
    finite = np.isfinite(reference)
    if not np.array_equal(value[~finite], reference[~finite], equal_nan=True) or not np.isfinite(value[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    largest = float(np.abs(reference[finite]).max())
    error = float(np.abs(value[finite] - reference[finite]).max())
    return error / largest if largest > 0 else error


def _outputs(imported: Any, inputs: Sequence[Any]) -> Any:
    if not inputs:
        return imported
    if hasattr(imported, "run"):
        return imported.run(*inputs)
    from rnncore import no_grad
    from rnncore._tensor import as_tensor

    modes = [(module, module.training) for module in imported.modules()]
    imported.eval()
    try:
        with no_grad():
            return imported(*(as_tensor(value) for value in inputs))
    finally:
        for module, training in modes:
            module.training = training


def _named(values: Any, prefix: str = "") -> dict[str, Any]:
    """The arrays of a nested answer, by a name that says where each stands."""
    if isinstance(values, Mapping):
        pairs = [(str(name), value) for name, value in values.items()]
    elif isinstance(values, (tuple, list)) and not all(isinstance(value, (int, float)) for value in values):
        pairs = [(str(i), value) for i, value in enumerate(values)]
    else:
        value = values.detach() if hasattr(values, "detach") else values
        return {prefix or "output": np.asarray(value, np.float64)}
    if len(pairs) == 1 and not prefix:
        return _named(pairs[0][1])
    found: dict[str, Any] = {}
    for name, value in pairs:
        if value is not None:
            found.update(_named(value, f"{prefix}.{name}" if prefix else name))
    return found


def _list(named: Mapping[str, Any]) -> str:
    return f"{len(named)}: {', '.join(named)}" if named else "none"
