"""Functions without parameters of their own, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from rnncore import _core
from rnncore._core import Tensor, linear, log_softmax, relu, sigmoid, softmax, tanh
from rnncore._core import dropout as _dropout
from rnncore._tensor import as_tensor, fresh_generator
from rnncore.nn.attention import attention
from rnncore.nn.labelling import max_over_time, mean_over_time
from rnncore.nn.value_losses import (
    binary_cross_entropy_with_logits,
    ctc_beam_search,
    ctc_greedy_search,
    ctc_loss,
    l1_loss,
    mse_loss,
    quantile_loss,
)

__all__ = [
    "activation_penalty",
    "attention",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "ctc_beam_search",
    "ctc_greedy_search",
    "ctc_loss",
    "dropout",
    "embedding",
    "embedding_dropout",
    "l1_loss",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "max_over_time",
    "mean_over_time",
    "mse_loss",
    "nll_loss",
    "quantile_loss",
    "relu",
    "same_mask_dropout",
    "sigmoid",
    "softmax",
    "tanh",
    "temporal_activation_penalty",
]


def _batched(input: Tensor, target: Any) -> tuple[Tensor, Any, bool]:
    """One example (V,) and its class () become a batch of one."""
    if input.ndim != 1:
        return input, target, False
    return input.reshape(1, -1), as_tensor(target).reshape(1), True


def cross_entropy(
    input: Tensor,
    target: Any,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], fused.

    Args:
        input: Logits (R, V) or (V,).
        target: Class ids (R,) or (), integers in [0, V) or `ignore_index`.
        ignore_index: Targets of this value count for nothing. Default: -100.
        reduction: "mean" over the targets that count (default), "sum" or "none".
        label_smoothing: e in [0, 1): (1-e) nll + e mean over classes. Default: 0.

    Returns:
        () for "mean" and "sum", else (R,) or ().

    >>> import rnncore
    >>> round(cross_entropy(rnncore.zeros(2, 4), [0, 3]).item(), 4)
    1.3863
    """
    logits, ids, single = _batched(as_tensor(input), target)
    loss = _core.cross_entropy(logits, ids, reduction, ignore_index, label_smoothing)
    return loss.reshape(()) if single else loss


def nll_loss(input: Tensor, target: Any, *, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """-input[target] for log-probabilities (R, V) or (V,); arguments as for `cross_entropy`."""
    log_probs, ids, single = _batched(as_tensor(input), target)
    loss = _core.nll_loss(log_probs, ids, reduction, ignore_index)
    return loss.reshape(()) if single else loss


def linear_cross_entropy(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Any,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """cross_entropy(linear(input, weight, bias), target) without holding the logits.

    Args: input (R, I), weight (V, I), bias (V,) or None, target (R,); the rest as for `cross_entropy` ("mean", "sum").
    """
    return _core.linear_cross_entropy(input, weight, bias, target, reduction, ignore_index, label_smoothing)


def embedding(input: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of `weight` (V, E) at the ids `input` (...): (..., E). The row `padding_idx` gets no gradient."""
    return _core.embedding(weight, input, -1 if padding_idx is None else padding_idx)


def layer_norm(input: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Ba et al. 2016, equation 4, over the last axis (D,)."""
    return _core.layer_norm(input, weight, bias, eps)


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, *, generator: _core.Generator | None = None
) -> Tensor:
    """Zeroes elements with probability `p` and scales the rest by 1/(1-p); the identity unless `training`."""
    return _dropout(input, p, training, generator or fresh_generator())


def same_mask_dropout(
    input: Tensor, p: float = 0.5, training: bool = True, *, generator: _core.Generator | None = None
) -> Tensor:
    """`dropout` of (T, N, F) with one mask (N, F) for all T steps (Gal & Ghahramani 2016)."""
    if input.ndim != 3:
        raise ValueError(f"[same_mask_dropout] input: expected shape (T, N, F), got {input.shape}")
    if not training or p == 0.0:
        return input
    ones = _core.full((1, *input.shape[1:]), 1.0, input.dtype)
    return input * _dropout(ones, p, True, generator or fresh_generator())


def embedding_dropout(
    weight: Tensor, p: float = 0.1, training: bool = True, *, generator: _core.Generator | None = None
) -> Tensor:
    """`dropout` of whole rows of an embedding (V, E): a token is dropped wherever it stands (Gal & Ghahramani 2016)."""
    if weight.ndim != 2:
        raise ValueError(f"[embedding_dropout] weight: expected shape (V, E), got {weight.shape}")
    if not training or p == 0.0:
        return weight
    return weight * _dropout(
        _core.full((weight.shape[0], 1), 1.0, weight.dtype), p, True, generator or fresh_generator()
    )


def activation_penalty(input: Tensor) -> Tensor:
    """mean(h^2) over outputs of any shape: activation regularisation, AR (Merity et al. 2017).

    >>> import rnncore
    >>> activation_penalty(rnncore.tensor([[3.0, 1.0]])).item()
    5.0
    """
    return (input * input).mean()


def temporal_activation_penalty(input: Tensor) -> Tensor:
    """mean((h_t - h_(t-1))^2) over (T, N, H), T >= 2: temporal activation regularisation, TAR (Merity et al. 2017).

    >>> import rnncore
    >>> temporal_activation_penalty(rnncore.tensor([[[1.0]], [[4.0]]])).item()
    9.0
    """
    if input.shape[0] < 2:
        raise ValueError(f"[temporal_activation_penalty] input: expected at least two steps, got shape {input.shape}")
    change = input[1:] - input[:-1]
    return (change * change).mean()
