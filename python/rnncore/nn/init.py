"""Initialisation in place. Each draws from the `generator` passed and returns its tensor.

Matrices are (fan_out, fan_in), as Linear and the recurrent layers keep them.
"""

from __future__ import annotations

import math

import numpy as np

from rnncore import _core
from rnncore._core import Generator, Tensor
from rnncore._grad import no_grad

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0)}


def calculate_gain(nonlinearity: str) -> float:
    """The recommended gain: linear and sigmoid 1, tanh 5/3, relu sqrt(2)."""
    if nonlinearity not in _GAINS:
        raise ValueError(f"[init] nonlinearity: expected one of {sorted(_GAINS)}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def _fans(operation: str, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim != 2:
        raise ValueError(f"[{operation}] tensor: expected a matrix (fan_out, fan_in), got shape {tensor.shape}")
    return tensor.shape[1], tensor.shape[0]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator) -> Tensor:
    """U[a, b)."""
    with no_grad():
        generator.uniform_(tensor, a, b)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator) -> Tensor:
    """N(mean, std^2)."""
    with no_grad():
        generator.normal_(tensor, mean, std)
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value."""
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity (Le et al. 2015 start ReLU networks so)."""
    fan_in, fan_out = _fans("eye_", tensor)
    with no_grad():
        return tensor.copy_(np.eye(fan_out, fan_in))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, generator: Generator) -> Tensor:
    """U(-a, a) with a = gain sqrt(6 / (fan_in + fan_out)); Glorot & Bengio 2010, equation 16."""
    bound = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, generator: Generator) -> Tensor:
    """N(0, 2 gain^2 / (fan_in + fan_out)); Glorot & Bengio 2010."""
    std = gain * math.sqrt(2.0 / sum(_fans("xavier_normal_", tensor)))
    return normal_(tensor, 0.0, std, generator=generator)


def kaiming_uniform_(tensor: Tensor, nonlinearity: str = "relu", *, generator: Generator) -> Tensor:
    """U(-a, a) with a = gain sqrt(3 / fan_in); He et al. 2015, equation 10."""
    fan_in, _ = _fans("kaiming_uniform_", tensor)
    bound = calculate_gain(nonlinearity) * math.sqrt(3.0 / fan_in)
    return uniform_(tensor, -bound, bound, generator=generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, *, generator: Generator) -> Tensor:
    """Orthonormal rows or columns times `gain`; Saxe et al. 2014. QR of a normal matrix, in float64."""
    rows, columns = _fans("orthogonal_", tensor)[::-1]
    with no_grad():
        return tensor.copy_((_core.orthogonal(rows, columns, generator) * gain).to(tensor.dtype))
