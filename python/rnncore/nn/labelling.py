"""Pooling over time and linear-chain conditional random fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnncore import _core
from rnncore._core import Tensor
from rnncore._tensor import as_tensor
from rnncore.nn.module import Module, Parameter


def max_over_time(input: Tensor, lengths: Any = None) -> Tensor:
    """The largest value of each feature over a sequence's own steps: (T, N, F) -> (N, F).

    Args:
        input: (T, N, F).
        lengths: Integers (N,), how many steps of each sequence count; default: all. Of no step: 0.

    >>> import rnncore
    >>> max_over_time(rnncore.tensor([[[1.0]], [[3.0]], [[9.0]]]), [2]).tolist()
    [[3.0]]
    """
    return _core.max_over_time(as_tensor(input), lengths)


def mean_over_time(input: Tensor, lengths: Any = None) -> Tensor:
    """The mean of each feature over a sequence's own steps: (T, N, F) -> (N, F); arguments as `max_over_time`."""
    return _core.mean_over_time(as_tensor(input), lengths)


class CRF(Module):
    """A linear-chain conditional random field over K tags (Lafferty, McCallum & Pereira 2001).

    score(y) = start[y_1] + sum_t emissions[t, y_t] + sum_t transitions[y_(t-1), y_t] + end[y_L];
    p(y) = exp(score(y)) / Z, Z summed over all K^L sequences by the forward algorithm, in log space.

    Args:
        num_tags: K.
        labels: Names of the tags. Where given, sequences that are not BIO ("I-X" first, or after anything but "B-X" and
            "I-X") have no probability, and `decode` never gives one.
        dtype: "float32" (default) or "float64".

    Parameters: transitions (K, K) (from, to), start (K,), end (K,), all starting at 0.

    >>> import rnncore
    >>> crf = CRF(2)
    >>> round(crf.loss(rnncore.zeros(3, 1, 2), [[0], [1], [0]]).item(), 4)  # 8 paths, all alike: ln 8
    2.0794
    """

    def __init__(self, num_tags: int, *, labels: Sequence[str] | None = None, dtype: str = "float32") -> None:
        super().__init__()
        if labels is not None and len(labels) != num_tags:
            raise ValueError(f"[crf] labels: expected {num_tags}, one for each tag, got {len(labels)}")
        self.num_tags = num_tags
        self.transitions = Parameter(_core.full((num_tags, num_tags), 0.0, dtype))
        self.start = Parameter(_core.full((num_tags,), 0.0, dtype))
        self.end = Parameter(_core.full((num_tags,), 0.0, dtype))
        self._penalties = None if labels is None else _core.bio_penalties(list(labels), dtype)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._penalties is None:
            return self.transitions, self.start, self.end
        transitions, start, _ = self._penalties
        return self.transitions + transitions, self.start + start, self.end

    def loss(self, emissions: Tensor, targets: Any, lengths: Any = None) -> Tensor:
        """-log p(targets) of each sequence: emissions (T, N, K), targets (T, N), lengths (N,) -> (N,)."""
        return _core.crf_loss(emissions, targets, *self._weights(), lengths=lengths)

    def decode(self, emissions: Tensor, lengths: Any = None) -> Tensor:
        """The most probable tags (T, N), -100 beyond a sequence's length (Viterbi 1967)."""
        return _core.crf_decode(emissions, *self._weights(), lengths=lengths)

    def extra_repr(self) -> str:
        return f"{self.num_tags}, bio={self._penalties is not None}"
