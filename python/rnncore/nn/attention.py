"""Attention of one sequence's steps over another's."""

from __future__ import annotations

import math
from typing import Any

from rnncore import _core
from rnncore._core import Generator, Tensor
from rnncore.nn import init
from rnncore.nn.layers import check_positive
from rnncore.nn.module import Module, Parameter, generator_or_fresh

SCORES = ("dot", "bilinear", "additive")


def attention(
    query: Tensor, keys: Tensor, values: Tensor, lengths: Any = None, *, v: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Each query over the keys of its own sequence, masked, all in one operation.

    score = query . key, or with `v`: v . tanh(query + key) (Bahdanau et al. 2015); weights = softmax of the scores over
    a sequence's own keys; context = sum of weight * value.

    Args:
        query: (Tq, N, K).
        keys: (Ts, N, K).
        values: (Ts, N, V).
        lengths: Integers (N,), how many keys of each sequence count; default: all.
        v: (K,), for the additive score.

    Returns:
        The context (Tq, N, V) and the weights (Tq, N, Ts), 0 where there is no key.

    >>> import rnncore
    >>> context, weights = attention(rnncore.zeros(1, 1, 2), rnncore.zeros(3, 1, 2), rnncore.ones(3, 1, 4), [2])
    >>> context.shape, weights.tolist()
    ((1, 1, 4), [[[0.5, 0.5, 0.0]]])
    """
    return _core.attention(query, keys, values, lengths, v)


class Attention(Module):
    """Attention with one of three scores of a query q and a key k.

    "dot": q . k; "bilinear": q . W k (Luong et al. 2015, "general"); "additive": v . tanh(W_q q + W_k k)
    (Bahdanau et al. 2015).

    Args:
        query_size: Q.
        key_size: S, of the keys, which are the values too; "dot" needs Q = S.
        score: Default: "bilinear".
        size: A, the units of the additive score. Default: Q.
        dtype: "float32" (default) or "float64".
        generator: For the initial values U(-1/sqrt(in), 1/sqrt(in)).

    Parameters: bilinear weight (Q, S); additive weight_query (A, Q), weight_key (A, S), v (A,).

    Call with query (Tq, N, Q), memory (Ts, N, S), lengths (N,) and optionally keys, what `keys` made of the memory
    before. Returns (context (Tq, N, S), weights (Tq, N, Ts)).

    >>> import rnncore
    >>> context, weights = Attention(4, 6, "additive")(rnncore.zeros(2, 3, 4), rnncore.zeros(5, 3, 6), [5, 4, 1])
    >>> context.shape, weights.shape
    ((2, 3, 6), (2, 3, 5))
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        score: str = "bilinear",
        size: int | None = None,
        *,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise ValueError(f"[attention] score: expected {' | '.join(SCORES)}, got {score!r}")
        units = query_size if size is None else size
        check_positive("attention", query_size=query_size, key_size=key_size, size=units)
        if score == "dot" and query_size != key_size:
            hint = "the bilinear score takes any sizes"
            raise ValueError(f"[attention] key_size: expected query_size = {query_size}, got {key_size}; {hint}")
        self.query_size, self.key_size, self.score, self.size = query_size, key_size, score, units
        source = generator_or_fresh(generator)

        def fresh(*shape: int) -> Parameter:
            bound = 1.0 / math.sqrt(shape[-1])
            parameter = Parameter(_core.empty(shape, dtype))
            init.uniform_(parameter, -bound, bound, generator=source)
            return parameter

        if score == "bilinear":
            self.weight = fresh(query_size, key_size)
        elif score == "additive":
            self.weight_query, self.weight_key = fresh(units, query_size), fresh(units, key_size)
            self.v = fresh(units)

    def keys(self, memory: Tensor) -> Tensor:
        """What a query is compared with, made once of the memory (Ts, N, S) for all queries: (Ts, N, Q or A)."""
        if self.score == "dot":
            return memory
        return _core.linear(memory, self.weight if self.score == "bilinear" else self.weight_key)

    def forward(
        self, query: Tensor, memory: Tensor, lengths: Any = None, *, keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        made = self.keys(memory) if keys is None else keys
        if self.score == "additive":
            return attention(_core.linear(query, self.weight_query), made, memory, lengths, v=self.v)
        return attention(query, made, memory, lengths)

    def extra_repr(self) -> str:
        return f"{self.query_size}, {self.key_size}, score={self.score!r}" + (
            f", size={self.size}" if self.score == "additive" else ""
        )
