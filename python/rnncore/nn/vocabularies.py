"""Output layers for large vocabularies: softmaxes with clusters (exact), and losses over sampled words.

All of them take ids that fall in frequency, as `data.Vocabulary` gives words: clusters and noise follow Zipf's law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore import _core
from rnncore._core import Generator, Tensor
from rnncore._messages import message
from rnncore._tensor import as_integers, as_tensor
from rnncore.nn.containers import ModuleList, Sequential
from rnncore.nn.layers import Linear, check_positive
from rnncore.nn.module import Module, generator_or_fresh

_MASKED = -1e30  # a logit that no exponential sees


class ClusteredOutput(NamedTuple):
    """Log-probabilities of the targets (R,) and the mean loss ()."""

    output: Tensor
    loss: Tensor


class _Clustered(Module):
    """What softmaxes with clusters share; `_parts` gives the engine's description."""

    in_features: int
    n_classes: int
    cutoffs: tuple[int, ...]

    def _parts(self) -> tuple[list[int], Tensor, Tensor | None, list[tuple[Tensor | None, Tensor, Tensor | None]]]:
        raise NotImplementedError

    def loss(self, input: Tensor, target: Any, *, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
        """Cross-entropy of target (R,) given input (R, I), without holding all logits.

        `reduction`: "mean" over the targets that count, "sum", or, where no gradients are wanted, "none".
        """
        return _core.clustered_cross_entropy(input, *self._parts(), target, reduction, ignore_index)

    def log_prob(self, input: Tensor) -> Tensor:
        """All log-probabilities (R, V); every row's exponentials sum to one."""
        return _core.clustered_log_prob(input, *self._parts())

    def predict(self, input: Tensor) -> Tensor:
        """The likeliest class of each row (R,)."""
        return _core.argmax(self.log_prob(input), 1)

    def forward(self, input: Tensor, target: Any) -> ClusteredOutput:
        from rnncore._grad import no_grad

        with no_grad():
            losses = self.loss(input, target, reduction="none")
        return ClusteredOutput(-losses, self.loss(input, target))


class AdaptiveLogSoftmaxWithLoss(_Clustered):
    """Adaptive softmax: frequent words, then clusters with smaller and smaller projections (Grave et al. 2017).

    log P(w) = log softmax(head(x))[w] for w below the first cutoff, and for the words of cluster i
    log softmax(head(x))[cutoffs[0] + i] + log softmax(tail_i(x))[w - cutoffs[i]]. Exact: it is a distribution.

    Args:
        in_features: I.
        n_classes: V; ids must fall in frequency.
        cutoffs: Where the clusters begin, rising, within 1..V-1.
        div_value: Cluster i is projected to I / div_value^(i+1) features, at least 1. Default: 4.
        head_bias: Whether the head has a bias. Default: False.
        dtype: "float32" (default) or "float64".
        generator: For the initial values.

    Parameters, as PyTorch's: head.weight (cutoffs[0] + clusters, I), head.bias, tail.{i}.0.weight, tail.{i}.1.weight.

    >>> import rnncore
    >>> layer = AdaptiveLogSoftmaxWithLoss(8, 100, [10, 40], generator=rnncore.Generator(0))
    >>> output, loss = layer(rnncore.zeros(3, 8), [1, 20, 99])
    >>> output.shape, layer.log_prob(rnncore.zeros(3, 8)).shape
    ((3,), (3, 100))
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        *,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive("adaptive softmax", in_features=in_features, n_classes=n_classes)
        self.in_features, self.n_classes, self.div_value = in_features, n_classes, div_value
        self.cutoffs = check_cutoffs("adaptive softmax", cutoffs, n_classes, shortlist=True)
        if not div_value >= 1:
            raise ValueError(f"[adaptive softmax] div_value: expected at least 1, got {div_value}")
        options: dict[str, Any] = {"dtype": dtype, "generator": generator_or_fresh(generator)}
        self.head = Linear(in_features, self.cutoffs[0] + len(self.cutoffs), bias=head_bias, **options)
        tails, size = [], float(in_features)
        for first, last in zip(self.cutoffs, (*self.cutoffs[1:], n_classes), strict=True):
            size /= div_value
            inner = max(1, int(size))
            tails.append(
                Sequential(
                    Linear(in_features, inner, bias=False, **options),
                    Linear(inner, last - first, bias=False, **options),
                )
            )
        self.tail = ModuleList(tails)

    def _parts(self) -> tuple[list[int], Tensor, Tensor | None, list[tuple[Tensor | None, Tensor, Tensor | None]]]:
        clusters: list[tuple[Tensor | None, Tensor, Tensor | None]] = []
        for tail in self.tail:
            projection, words = tail.parameters()
            clusters.append((projection, words, None))
        return [*self.cutoffs, self.n_classes], self.head.weight, self.head.bias, clusters

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.n_classes}, cutoffs={list(self.cutoffs)}, div_value={self.div_value:g}"


class ClassSoftmax(_Clustered):
    """P(w) = P(class of w) P(w | its class), both linear in x (Goodman 2001; Mikolov et al. 2011). Exact.

    Args:
        in_features: I.
        n_classes: V, the words; ids must fall in frequency.
        cutoffs: Where the classes begin, rising. Words below the first stand among the classes, one softmax for both:
            an adaptive softmax (Grave et al. 2017) whose clusters keep all features, so that `words.weight` can be an
            embedding. Default: `zipf_cutoffs` of sqrt(V) classes, the first 0.
        dtype: "float32" (default) or "float64".
        generator: For the initial values.

    Parameters: head.weight (C, I), head.bias (C,), words.weight (V, I), words.bias (V,).

    >>> import rnncore
    >>> layer = ClassSoftmax(8, 100, [10, 40], generator=rnncore.Generator(0))
    >>> layer.head.weight.shape, layer.log_prob(rnncore.zeros(3, 8)).shape
    ((2, 8), (3, 100))
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int] | None = None,
        *,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive("class softmax", in_features=in_features, n_classes=n_classes)
        self.in_features, self.n_classes = in_features, n_classes
        wanted = zipf_cutoffs(n_classes, math.isqrt(n_classes)) if cutoffs is None else cutoffs
        self.cutoffs = check_cutoffs("class softmax", wanted, n_classes)
        options: dict[str, Any] = {"dtype": dtype, "generator": generator_or_fresh(generator)}
        self.head = Linear(in_features, len(self.cutoffs), **options)
        self.words = Linear(in_features, n_classes, **options)

    def _parts(self) -> tuple[list[int], Tensor, Tensor | None, list[tuple[Tensor | None, Tensor, Tensor | None]]]:
        bounds = [*self.cutoffs, self.n_classes]
        weight, bias, head_bias = self.words.weight, self.words.bias, self.head.bias
        assert bias is not None  # noqa: S101  # this class made both
        assert head_bias is not None  # noqa: S101
        clusters: list[tuple[Tensor | None, Tensor, Tensor | None]] = [
            (None, weight[first:last], bias[first:last]) for first, last in pairwise(bounds)
        ]
        first = bounds[0]
        if first == 0:
            return bounds, self.head.weight, head_bias, clusters
        head_weight = _core.cat([weight[:first], self.head.weight], 0)
        return bounds, head_weight, _core.cat([bias[:first], head_bias], 0), clusters

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.n_classes}, {len(self.cutoffs)} classes"


def check_cutoffs(
    operation: str, cutoffs: Sequence[int], n_classes: int, *, shortlist: bool | None = None
) -> tuple[int, ...]:
    """The cutoffs as a tuple.

    Raises:
        ValueError: unless they rise, from 0 or more on (`shortlist` True: more; False: exactly 0), below `n_classes`.
    """
    found = tuple(int(cutoff) for cutoff in cutoffs)
    rising = all(a < b for a, b in pairwise(found))
    good = rising and bool(found) and found[0] >= 0 and found[-1] < n_classes
    if not good or (shortlist is not None and (found[0] > 0) != shortlist):
        start = {None: "from 0 or more on", True: "from 1 on", False: "the first 0"}[shortlist]
        raise ValueError(message(operation, "cutoffs", f"rising, {start}, below {n_classes}", str(list(found))))
    return found


def zipf_cutoffs(n_classes: int, clusters: int) -> tuple[int, ...]:
    """Bounds of at most `clusters` clusters of about equal frequency, if word k is met in proportion to 1 / (k + 1).

    >>> zipf_cutoffs(1000, 4)
    (0, 5, 31, 177)
    """
    edges = np.exp(np.arange(clusters) * (math.log(n_classes + 1) / clusters)) - 1.0
    return tuple(int(edge) for edge in np.unique(np.round(edges)))


def log_uniform(generator: Generator, n_classes: int, count: int) -> NDArray[np.int64]:
    """Ids (count,) drawn, with repetitions, as P(k) = ln((k + 2) / (k + 1)) / ln(V + 1): Zipf's law."""
    u = _core.empty((count,), "float64")
    generator.uniform_(u, 0.0, 1.0)
    drawn = np.exp(u.numpy() * math.log(n_classes + 1)).astype(np.int64) - 1
    return np.minimum(drawn, n_classes - 1)


def log_uniform_log_prob(ids: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """The log-probabilities with which `log_uniform` draws these ids."""
    probability: NDArray[np.float64] = np.log(np.log1p(1.0 / (ids + 1.0)) / math.log(n_classes + 1))
    return probability


def _scores(
    input: Tensor, weight: Tensor, bias: Tensor, target: NDArray[np.int64], samples: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Logits of each row's target (R, 1) and of the samples (R, S)."""
    ids = np.concatenate([target, samples])
    rows, biases = _core.embedding(weight, ids), _core.embedding(bias.reshape(-1, 1), ids)
    split = len(target)
    true = (input * rows[:split]).sum(1).reshape(-1, 1) + biases[:split]
    return true, _core.linear(input, rows[split:], biases[split:].reshape(-1))


def _counted(input: Tensor, target: Any) -> tuple[Tensor, NDArray[np.int64]]:
    """The rows whose target is not -100, and these targets."""
    ids = as_integers("sampled loss", "target", target)
    rows = np.flatnonzero(ids != -100)
    return (input, ids) if len(rows) == len(ids) else (_core.embedding(input, rows), ids[rows])


def sampled_softmax_loss(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    target: Any,
    samples: NDArray[np.int64],
    log_expected: NDArray[np.float64] | None = None,
    target_log_expected: NDArray[np.float64] | None = None,
) -> Tensor:
    """Softmax over each row's target and shared samples, corrected by how often they are drawn (Jean et al. 2015).

    Each logit loses the logarithm of how often its word is expected among the samples; a sample that is the row's
    target does not count. With all words as samples and no correction it is the full softmax.

    Args:
        input: (R, I).
        weight: (V, I).
        bias: (V,).
        target: (R,); -100 does not count.
        samples: ids (S,) for all rows.
        log_expected: (S,); default: zeros.
        target_log_expected: of the targets that count; default: zeros.

    Returns:
        The mean () over the targets that count.
    """
    input, ids = _counted(as_tensor(input), target)
    true, noise = _scores(input, weight, bias, ids, samples)
    shift = np.zeros((len(ids), len(samples))) if log_expected is None else np.tile(-log_expected, (len(ids), 1))
    shift[samples[None, :] == ids[:, None]] = _MASKED
    noise = noise + Tensor(shift, dtype=input.dtype)
    if target_log_expected is not None:
        true = true - Tensor(target_log_expected.reshape(-1, 1), dtype=input.dtype)
    logits = _core.cat([true, noise], 1)
    return _core.cross_entropy(logits, np.zeros(len(ids), dtype=np.int64), "mean", -100, 0.0)


def nce_loss(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    target: Any,
    samples: NDArray[np.int64],
    log_expected: NDArray[np.float64],
    target_log_expected: NDArray[np.float64],
) -> Tensor:
    """Noise-contrastive estimation: telling the target from S words of noise (Mnih & Teh 2012, equation 8).

    -ln s(f(target) - ln S q(target)) - sum over samples of ln(1 - s(f(sample) - ln S q(sample))), s the logistic
    function and f the logit, which learns to be a log-probability by itself. Arguments as `sampled_softmax_loss`.
    """
    input, ids = _counted(as_tensor(input), target)
    true, noise = _scores(input, weight, bias, ids, samples)
    true = true - Tensor(target_log_expected.reshape(-1, 1), dtype=input.dtype)
    noise = noise - Tensor(log_expected, dtype=input.dtype)
    logits = _core.cat([true, noise], 1)
    truth = np.zeros(logits.shape)
    truth[:, 0] = 1.0
    losses = _core.binary_cross_entropy_with_logits(logits, truth, "sum")
    return losses * (1.0 / len(ids))
