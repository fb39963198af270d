"""Losses of real values and connectionist temporal classification; `functional` shows them under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnncore import _core
from rnncore._core import Tensor
from rnncore._tensor import as_tensor


def mse_loss(input: Tensor, target: Any, *, reduction: str = "mean", mask: Any = None) -> Tensor:
    """(input - target)^2.

    Args:
        input: (...).
        target: The same shape; no gradient goes to it.
        reduction: "mean" over the elements that count (default), "sum" or "none".
        mask: Of the target's shape, or of that without its last axis: zeros do not count. Default: all count.

    Returns:
        () for "mean" and "sum", else the input's shape.

    >>> import rnncore
    >>> mse_loss(rnncore.tensor([1.0, 4.0]), [2.0, 0.0], mask=[1, 0]).item()
    1.0
    """
    return _core.mse_loss(as_tensor(input), target, reduction, mask)


def l1_loss(input: Tensor, target: Any, *, reduction: str = "mean", mask: Any = None) -> Tensor:
    """|input - target|; arguments as for `mse_loss`."""
    return _core.l1_loss(as_tensor(input), target, reduction, mask)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Any, *, reduction: str = "mean", mask: Any = None
) -> Tensor:
    """-y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)), without overflow; targets in [0, 1], the rest as for `mse_loss`.

    >>> import rnncore
    >>> round(binary_cross_entropy_with_logits(rnncore.zeros(2), [0.0, 1.0]).item(), 4)
    0.6931
    """
    return _core.binary_cross_entropy_with_logits(as_tensor(input), target, reduction, mask)


def quantile_loss(
    input: Tensor, target: Any, quantiles: Sequence[float], *, reduction: str = "mean", mask: Any = None
) -> Tensor:
    """max(q (y - x_q), (q - 1) (y - x_q)), the pinball loss (Koenker & Bassett 1978): least at the q-quantile of y.

    Args:
        input: (..., Q), one forecast for each quantile.
        target: (...), the input's shape without its last axis.
        quantiles: Q numbers in (0, 1).
        reduction: As for `mse_loss`.
        mask: As for `mse_loss`.

    >>> import rnncore
    >>> round(quantile_loss(rnncore.tensor([[1.0, 1.0]]), [3.0], [0.1, 0.9], reduction="sum").item(), 4)
    2.0
    """
    return _core.quantile_loss(as_tensor(input), target, list(quantiles), reduction, mask)


def ctc_loss(
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-ln p(labels | frames), summed over all alignments (Graves et al. 2006), with its gradient in the same pass.

    Args:
        log_probs: (T, N, C) or (T, C), log-softmax over C classes.
        targets: Labels, integers in [0, C) other than `blank`: (N, S), or all of them in one row.
        input_lengths: Frames of each sequence (N,).
        target_lengths: Labels of each sequence (N,).
        blank: The class of no label. Default: 0.
        reduction: "mean" (default): of the losses, each divided by its target's length; "sum" or "none".
        zero_infinity: Whether a target that fits into no path (too few frames) counts 0 without a gradient; else its
            loss is infinite and its gradient not a number. Default: False.

    Returns:
        () for "mean" and "sum", else (N,) or ().

    The gradient is that of the logits whose log-softmax `log_probs` is, as PyTorch gives it.

    >>> import rnncore
    >>> log_probs = rnncore.zeros(2, 1, 2).log_softmax(-1)  # two frames: blank or a, each 1/2
    >>> round(ctc_loss(log_probs, [[1]], [2], [1]).exp().item(), 4)  # 1 / p("a"), three of four paths
    1.3333
    """
    log_probs = as_tensor(log_probs)
    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
        input_lengths, target_lengths = (as_tensor(each).reshape(1) for each in (input_lengths, target_lengths))
    loss = _core.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity)
    return loss.reshape(()) if single else loss


def ctc_greedy_search(log_probs: Tensor, input_lengths: Any, *, blank: int = 0) -> list[tuple[list[int], float]]:
    """The labels of each sequence's best path, and that path's log-probability.

    Args: log_probs (T, N, C), input_lengths (N,), blank as for `ctc_loss`.

    >>> import rnncore
    >>> frames = rnncore.tensor([[[0.1, 0.9]], [[0.2, 0.8]], [[0.7, 0.3]], [[0.4, 0.6]]]).log()
    >>> ctc_greedy_search(frames, [4])[0][0]
    [1, 1]
    """
    return _core.ctc_greedy_search(as_tensor(log_probs), input_lengths, blank)


def ctc_beam_search(
    log_probs: Tensor, input_lengths: Any, *, beam: int = 16, top: int = 1, blank: int = 0
) -> list[list[tuple[list[int], float]]]:
    """The most probable labellings of each sequence: prefix search with a beam (Graves et al. 2006, section 3.2).

    Args:
        log_probs: (T, N, C).
        input_lengths: Frames of each sequence (N,).
        blank: The class of no label. Default: 0.
        beam: Prefixes that are kept after each frame. Default: 16.
        top: Labellings wanted, at most `beam`. Default: 1.

    Returns:
        For each sequence a list of (labels, log-probability of all paths of these labels that were kept), best first.
    """
    return _core.ctc_beam_search(as_tensor(log_probs), input_lengths, beam, top, blank)
