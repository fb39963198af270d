"""Losses as modules; the functions are in `functional`."""

from __future__ import annotations

from collections.abc import Sequence
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


class MSELoss(Module):
    """(input - target)^2.

    Args:
        reduction: "mean" over the elements that count (default), "sum" or "none".

    Call with input and target of one shape, and optionally `mask=` as `functional.mse_loss`.
    """

    _loss = staticmethod(functional.mse_loss)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Tensor, target: Any, *, mask: Any = None) -> Tensor:
        return self._loss(input, target, reduction=self.reduction, mask=mask)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class L1Loss(MSELoss):
    """|input - target|; arguments as `MSELoss`."""

    _loss = staticmethod(functional.l1_loss)


class BCEWithLogitsLoss(MSELoss):
    """Binary cross-entropy of targets in [0, 1] and logits; arguments as `MSELoss`."""

    _loss = staticmethod(functional.binary_cross_entropy_with_logits)


class QuantileLoss(Module):
    """The pinball loss of forecasts (..., Q) of the quantiles of a target (...).

    Args:
        quantiles: Q numbers in (0, 1).
        reduction: "mean" over the elements that count (default), "sum" or "none".
    """

    def __init__(self, quantiles: Sequence[float], *, reduction: str = "mean") -> None:
        super().__init__()
        self.quantiles = tuple(quantiles)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Any, *, mask: Any = None) -> Tensor:
        return functional.quantile_loss(input, target, self.quantiles, reduction=self.reduction, mask=mask)

    def extra_repr(self) -> str:
        return f"quantiles={self.quantiles}, reduction={self.reduction!r}"


class CTCLoss(Module):
    """Connectionist temporal classification (Graves et al. 2006); see `functional.ctc_loss`.

    Args:
        blank: The class of no label. Default: 0.
        reduction: "mean" (default), "sum" or "none".
        zero_infinity: Whether targets that fit into no path count nothing. Default: False.
    """

    def __init__(self, blank: int = 0, *, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__()
        self.blank = blank
        self.reduction = reduction
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Any, input_lengths: Any, target_lengths: Any) -> Tensor:
        return functional.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank=self.blank,
            reduction=self.reduction,
            zero_infinity=self.zero_infinity,
        )

    def extra_repr(self) -> str:
        return f"blank={self.blank}, reduction={self.reduction!r}, zero_infinity={self.zero_infinity}"
