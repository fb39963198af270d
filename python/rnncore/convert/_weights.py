"""Arrays by name on their way into a model: each is used once and has the shape that is wanted, or its name is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rnncore.convert._errors import refusal

Array = npt.NDArray[Any]
FLOATS = ("float32", "float64")
_LARGE = 2**20


class Weights:
    """The weights of one model file.

    Args:
        operation: The conversion, for messages.
        origin: The file, for messages.
        arrays: Values by name.
    """

    def __init__(self, operation: str, origin: str, arrays: Mapping[str, Array]) -> None:
        self.operation = operation
        self.origin = origin
        self._arrays = dict(arrays)
        self._unused = dict.fromkeys(arrays)
        self._problems: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def names(self) -> list[str]:
        """All names, in the order of the file."""
        return list(self._arrays)

    def expect(self, name: str, shape: Sequence[int | None]) -> None:
        """Notes a problem where the array `name` is there and has another shape."""
        value = self._arrays.get(name)
        if value is not None and not _fits(value.shape, shape):
            self._problems.append(f"{name}: expected shape {_show(shape)}, got {value.shape}")

    def take(self, name: str, shape: Sequence[int | None]) -> Array:
        """The array `name`; None in `shape` stands for any size. Problems are gathered until `finish`.

        Returns:
            The array; zeros of the wanted shape where there is a problem.
        """
        wanted = _show(shape)
        value = self._arrays.get(name)
        if value is None:
            self._problems.append(f"missing {name} of shape {wanted}")
        else:
            self._unused.pop(name, None)
            fits = _fits(value.shape, shape)
            if fits and value.dtype.name in FLOATS:
                return value
            if fits:
                self._problems.append(f"{name}: expected float32 or float64, got {value.dtype.name}")
            else:
                self._problems.append(f"{name}: expected shape {wanted}, got {value.shape}")
        stand_in = [size or 1 for size in shape]
        if math.prod(stand_in) > _LARGE:  # sizes that nothing confirms are no reason to fill the memory
            self.finish()
        return np.zeros(stand_in, np.float32)

    def finish(self) -> None:
        """All problems, and whatever was not used, in one error.

        Raises:
            ConversionError: naming each missing, mis-shaped and unused array.
        """
        problems = self._problems + [f"unused {name} of shape {self._arrays[name].shape}" for name in self._unused]
        if problems:
            raise refusal(self.operation, self.origin, "the weights of the model and no others", "; ".join(problems))


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(want in (None, size) for size, want in zip(shape, wanted, strict=True))


def _show(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"


def one_dtype(operation: str, origin: str, arrays: Mapping[str, Array]) -> str:
    """The dtype that all arrays have: "float32" or "float64".

    Raises:
        ConversionError: there are others, or several.
    """
    found = {str(value.dtype.name): name for name, value in arrays.items()}
    if len(found) == 1 and (dtype := next(iter(found))) in FLOATS:
        return dtype
    got = ", ".join(f"{dtype} ({name})" for dtype, name in found.items()) or "no weights"
    raise refusal(operation, origin, "weights all float32 or all float64", got)
