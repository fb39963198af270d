"""Linear, Embedding, Dropout and LayerNorm."""

from __future__ import annotations

import math
from typing import Any

from rnncore import _core
from rnncore._core import Generator, Tensor
from rnncore._messages import real
from rnncore.nn import init
from rnncore.nn.module import Module, Parameter, generator_or_fresh


def check_positive(operation: str, **sizes: int) -> None:
    """ValueError naming the first size below 1."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"[{operation}] {name}: expected an int, got {type(value).__name__}")
        if value < 1:
            raise ValueError(f"[{operation}] {name}: expected at least 1, got {value}")


def check_probability(operation: str, name: str, p: float) -> None:
    """ValueError unless 0 <= p < 1."""
    if not 0.0 <= real(operation, name, p) < 1.0:
        raise ValueError(f"[{operation}] {name}: expected a probability in [0, 1), got {p}")


class Linear(Module):
    """y = x W^T + b.

    Args:
        in_features: I, size of the last input axis.
        out_features: O, size of the last output axis.
        bias: Whether there is a b. Default: True.
        dtype: "float32" (default) or "float64".
        generator: For the initial values U(-1/sqrt(I), 1/sqrt(I)).

    Parameters: weight (O, I), bias (O,).

    >>> import rnncore
    >>> Linear(3, 2)(rnncore.zeros(5, 4, 3)).shape
    (5, 4, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive("linear", in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(_core.empty((out_features, in_features), dtype))
        self.bias = Parameter(_core.empty((out_features,), dtype)) if bias else None
        self.reset_parameters(generator_or_fresh(generator))

    def reset_parameters(self, generator: Generator) -> None:
        """Draws the initial values anew."""
        bound = 1.0 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound, generator=generator)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, input: Tensor) -> Tensor:
        return _core.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table of rows looked up by id.

    Args:
        num_embeddings: V, number of rows.
        embedding_dim: E, size of a row.
        padding_idx: This row starts at zero and gets no gradient. Default: None.
        dtype: "float32" (default) or "float64".
        generator: For the initial values N(0, 1).

    Parameters: weight (V, E). Input: integer ids (...); output (..., E).

    >>> Embedding(10, 3)([[1, 2], [3, 4]]).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive("embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"[embedding] padding_idx: expected within [{-num_embeddings}, {num_embeddings}), got {padding_idx}"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter(_core.empty((num_embeddings, embedding_dim), dtype))
        self.reset_parameters(generator_or_fresh(generator))

    def reset_parameters(self, generator: Generator) -> None:
        """Draws the initial values anew."""
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            self.weight.detach()[self.padding_idx] = 0.0

    def forward(self, input: Any) -> Tensor:
        return _core.embedding(self.weight, input, -1 if self.padding_idx is None else self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module):
    """Zeroes elements with probability `p` in training and scales the rest by 1/(1-p) (Srivastava et al. 2014).

    Args:
        p: In [0, 1). Default: 0.5.
        generator: Draws the masks (kept: its state belongs to a checkpoint).
    """

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        super().__init__()
        check_probability("dropout", "p", p)
        self.p = p
        self.generator = generator_or_fresh(generator)

    def forward(self, input: Tensor, *, generator: Generator | None = None) -> Tensor:
        if not self.training or self.p == 0.0:
            return input
        return _core.dropout(input, self.p, True, generator or self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LayerNorm(Module):
    """Normalises the last axis to mean 0 and deviation 1, then scales and shifts (Ba et al. 2016, equation 4).

    Args:
        normalized_shape: D, size of the last axis (an int or a tuple of one).
        eps: Added to the variance. Default: 1e-5.
        bias: Whether there is a shift. Default: True.
        dtype: "float32" (default) or "float64".

    Parameters: weight (D,) starting at 1, bias (D,) starting at 0.
    """

    def __init__(
        self, normalized_shape: int | tuple[int], eps: float = 1e-5, *, bias: bool = True, dtype: str = "float32"
    ) -> None:
        super().__init__()
        size = normalized_shape if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if isinstance(size, tuple) and len(size) != 1:
            raise ValueError(f"[layer_norm] normalized_shape: expected one axis, got {size}")
        self.size = size if isinstance(size, int) else size[0]
        check_positive("layer_norm", normalized_shape=self.size)
        self.eps = eps
        self.weight = Parameter(_core.full((self.size,), 1.0, dtype))
        self.bias = Parameter(_core.full((self.size,), 0.0, dtype)) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        return _core.layer_norm(input, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.size}, eps={self.eps}, bias={self.bias is not None}"
