"""Making tensors. Shapes are given as `zeros(2, 3)` or `zeros((2, 3))`; dtypes by name, "float32" by default."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnncore import _core
from rnncore._core import Generator, Tensor
from rnncore._messages import message

# NumPy is imported where it is first needed: importing rnncore then costs a few milliseconds.
if TYPE_CHECKING:
    import numpy.typing as npt


def fresh_generator() -> Generator:
    """A generator seeded by the operating system, used wherever none is passed.

    There is no global generator and no hidden seed: a result that must be repeatable takes `generator=`.
    """
    return Generator(int.from_bytes(os.urandom(7), "little"))


def _shape(shape: tuple[Any, ...]) -> list[int]:
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        return [int(n) for n in shape[0]]
    return [int(n) for n in shape]


def _marked(value: Tensor, requires_grad: bool) -> Tensor:
    return value.requires_grad_() if requires_grad else value


def tensor(data: Any, dtype: str | None = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data` (array, nested lists, number, tensor).

    Args:
        data: Arrays keep their dtype; Python floats become float32, ints int64.
        dtype: "float32", "float64", "int64" or "uint8"; by default from `data`.
        requires_grad: Whether gradients are gathered for it.

    Raises:
        TypeError: for data that is not numeric.
        ValueError: rows of different lengths.

    >>> import rnncore
    >>> rnncore.tensor([[1.0, 2.0]]).shape
    (1, 2)
    """
    return _made(data, requires_grad, dtype)


def _made(data: Any, requires_grad: bool, dtype: str | None) -> Tensor:
    try:
        return Tensor(data, requires_grad, dtype)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(message("tensor", "data", "rows of one length", "rows of different lengths")) from None


def as_tensor(data: Any, dtype: str | None = None) -> Tensor:
    """`data` itself if it is a tensor of that dtype, else a copy."""
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype == dtype else data.to(dtype)
    return _made(data, False, dtype)


def as_integers(operation: str, argument: str, data: Any) -> npt.NDArray[Any]:
    """`data` (array, nested lists, tensor) as an int64 array: ids and lengths, which no rounding may change.

    Raises:
        TypeError: numbers of another kind than integers and bool.
    """
    import numpy as np

    values = np.asarray(data.numpy() if isinstance(data, Tensor) else data)
    if values.dtype.kind not in "iub" and values.size:
        raise TypeError(message(operation, argument, "integers", str(values.dtype)))
    return np.ascontiguousarray(values, dtype=np.int64)


def from_numpy(array: npt.NDArray[Any]) -> Tensor:
    """A copy of a NumPy array: not a view, as engine-side caches must see every write."""
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """A copy of anything with `__dlpack__` on the CPU (a torch, jax or cupy array)."""
    import numpy as np

    return Tensor(np.from_dlpack(source))


def empty(*shape: Any, dtype: str = "float32") -> Tensor:
    """A tensor with unspecified content."""
    return _core.empty(_shape(shape), dtype)


def full(shape: Sequence[int], value: float, dtype: str = "float32", requires_grad: bool = False) -> Tensor:
    """A tensor of one value."""
    return _marked(_core.full(_shape((shape,)), value, dtype), requires_grad)


def zeros(*shape: Any, dtype: str = "float32", requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return _marked(_core.full(_shape(shape), 0.0, dtype), requires_grad)


def ones(*shape: Any, dtype: str = "float32", requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _marked(_core.full(_shape(shape), 1.0, dtype), requires_grad)


def zeros_like(other: Tensor) -> Tensor:
    """Zeros in the shape and dtype of `other`."""
    return _core.full(other.shape, 0.0, other.dtype)


def ones_like(other: Tensor) -> Tensor:
    """Ones in the shape and dtype of `other`."""
    return _core.full(other.shape, 1.0, other.dtype)


def arange(*bounds: float, dtype: str | None = None) -> Tensor:
    """As numpy.arange(start, stop, step), in int64 for ints and float32 for floats by default."""
    import numpy as np

    values = np.arange(*bounds)
    if dtype is None:
        dtype = "int64" if values.dtype.kind == "i" else "float32"
    return Tensor(values, False, dtype)


def randn(
    *shape: Any, generator: Generator | None = None, dtype: str = "float32", requires_grad: bool = False
) -> Tensor:
    """Normal numbers, mean 0 and deviation 1, from `generator` (by default one freshly seeded)."""
    out = empty(*shape, dtype=dtype)
    (generator or fresh_generator()).normal_(out, 0.0, 1.0)
    return _marked(out, requires_grad)


def rand(
    *shape: Any, generator: Generator | None = None, dtype: str = "float32", requires_grad: bool = False
) -> Tensor:
    """Uniform numbers in [0, 1) from `generator` (by default one freshly seeded)."""
    out = empty(*shape, dtype=dtype)
    (generator or fresh_generator()).uniform_(out, 0.0, 1.0)
    return _marked(out, requires_grad)


def randint(low: int, high: int, shape: Sequence[int], generator: Generator | None = None) -> Tensor:
    """Integers in [low, high) as int64, from `generator` (by default one freshly seeded)."""
    if high <= low:
        raise ValueError(f"[randint] high: expected more than low = {low}, got {high}")
    import numpy as np

    # 53 bits of a float64 choose among high - low values; the bias is below (high - low) / 2**53.
    draws = rand(*shape, generator=generator, dtype="float64").numpy()
    return Tensor((low + np.floor(draws * (high - low))).astype(np.int64))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """`input` with an axis of length 1 inserted at `dim`."""
    return input.unsqueeze(dim)


def squeeze(input: Tensor, dim: int | None = None) -> Tensor:
    """`input` without its axes of length 1 (or without `dim` if that has length 1)."""
    return input.squeeze(dim)
