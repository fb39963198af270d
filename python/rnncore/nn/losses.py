"""Losses as modules; the functions are in `functional`."""

from __future__ import annotations

from typing import Any

from rnncore._core import Tensor
from rnncore.nn import functional
from rnncore.nn.module import Module


class NLLLoss(Module):
    """-input[target] for log-probabilities (R, V).

    Args:
        ignore_index: Targets of this value count for nothing. Default: -100.
        reduction: "mean" over the targets that count (default), "sum" or "none".
    """

    def __init__(self, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.nll_loss(input, target, ignore_index=self.ignore_index, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}, reduction={self.reduction!r}"


class CrossEntropyLoss(Module):
    """-log softmax(input)[target] for logits (R, V), fused.

    Args:
        ignore_index: Targets of this value count for nothing. Default: -100.
        reduction: "mean" over the targets that count (default), "sum" or "none".
        label_smoothing: e in [0, 1): (1-e) nll + e mean over classes. Default: 0.
    """

    def __init__(self, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return functional.cross_entropy(
            input,
            target,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}, reduction={self.reduction!r}, label_smoothing={self.label_smoothing}"
