"""Scoring a text with a model that adapts to it: dynamic evaluation, and a continuous cache of what came before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnncore import Tensor, enable_grad, nn, no_grad
from rnncore._core import dynamic_evaluation_
from rnncore._messages import message
from rnncore.data.batches import Ids, Streams
from rnncore.models.language_model import LanguageModel, State

RULES = ("sgd", "rms")
_LR = {"sgd": 0.2, "rms": 1e-4}
_DECAY = {"sgd": 0.0, "rms": 2e-3}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DynamicOptions:
    """Dynamic evaluation (Krause et al. 2018, section 5): each segment is scored, then the weights take a step on it.

    "sgd":  theta <- theta - lr g + decay (theta_0 - theta)
    "rms":  theta <- theta - lr g / (sqrt(MS) + eps) + min(decay R, 1) (theta_0 - theta),  R = sqrt(MS) / mean(sqrt(MS))

    g: the gradient of the segment's mean loss; theta_0: the trained weights; MS: the mean square of g over the training
    text (`gradient_mean_squares`); the mean in R is over all weights. The state is carried; the gradient stops where
    the segment begins.

    Attributes:
        rule: "sgd" or "rms".
        lr: eta; default 0.2 for "sgd", 0.0001 for "rms". The paper's program sums the squares where the mean stands
            here: its rates and eps are larger by the root of the number of gradients.
        decay: lambda, back to the trained weights; default 0 for "sgd", 0.002 for "rms".
        segment: tokens; default 5.
        eps: of "rms"; default 2e-5.
    """

    rule: str
    lr: float | None = None
    decay: float | None = None
    segment: int = 5
    eps: float = 2e-5

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(message("dynamic evaluation", "rule", " | ".join(RULES), repr(self.rule)))
        object.__setattr__(self, "lr", _LR[self.rule] if self.lr is None else self.lr)
        object.__setattr__(self, "decay", _DECAY[self.rule] if self.decay is None else self.decay)
        for name in ("lr", "eps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(message("dynamic evaluation", name, "a finite number of at least 0", str(value)))
        if not 0 <= self.rates[1] <= 1:
            raise ValueError(message("dynamic evaluation", "decay", "a number in [0, 1]", str(self.decay)))
        if self.segment < 1:
            raise ValueError(message("dynamic evaluation", "segment", "at least 1 token", str(self.segment)))

    @property
    def rates(self) -> tuple[float, float]:
        """`lr` and `decay`."""
        assert self.lr is not None  # noqa: S101  # set above
        assert self.decay is not None  # noqa: S101
        return self.lr, self.decay


@dataclass(frozen=True)
class CacheOptions:
    """A continuous cache (Grave, Joulin & Usunier 2017, section 3): words come again where the state is alike.

    p(w) = (1 - weight) p_model(w) + weight p_cache(w),  p_cache(w) ~ sum over i of 1{w = x_(i+1)} exp(theta h_t . h_i)

    i: the last `window` steps before t; h: the stack's output, which the softmax (or the projection) reads. The first
    token that is predicted has no cache: p is the model's.

    Attributes:
        window: steps that are remembered; default 500.
        theta: how much alike; default 0.3.
        weight: lambda, of the cache; default 0.1.
    """

    window: int = 500
    theta: float = 0.3
    weight: float = 0.1

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(message("cache", "window", "at least 1", str(self.window)))
        if not (math.isfinite(self.theta) and self.theta >= 0):
            raise ValueError(message("cache", "theta", "a finite number of at least 0", str(self.theta)))
        if not 0 <= self.weight < 1:
            raise ValueError(message("cache", "weight", "in [0, 1)", str(self.weight)))


def adapted_score(
    model: LanguageModel,
    tokens: Ids,
    *,
    dynamic: DynamicOptions | None = None,
    mean_squares: Mapping[str, Tensor] | None = None,
    cache: CacheOptions | None = None,
    chunk: int = 500,
) -> tuple[float, int]:
    """As `LanguageModel.score` with one stream, by a model that adapts; the model is given back as it was.

    Args:
        model: any language model, whatever its softmax.
        tokens: ids (L,); every one but the first is predicted, from all before it.
        dynamic: the weights follow the text.
        mean_squares: for the rule "rms": what `gradient_mean_squares` gave.
        cache: a cache of the text so far; it can stand beside `dynamic`.
        chunk: steps read at a time without `dynamic`; it changes memory, not the result.

    Returns:
        Nats in all, and how many tokens were predicted.

    Raises:
        ValueError: "rms" without mean squares of this model's parameters.
        FloatingPointError: the weights have run away: a smaller lr.
    """
    steps = chunk if dynamic is None else dynamic.segment
    streams = Streams(tokens, batch=1, bptt=steps, every_token=True)
    memory = None if cache is None else _Cache(cache)
    total, count = 0.0, 0
    state: State | None = None
    with _adapting(model, dynamic, mean_squares) as adapt:
        for piece in streams:
            features, state = model.features(piece.inputs, state)
            if memory is None or adapt is not None:
                loss = model.head_loss(features, piece.targets, reduction="sum")
            nats = -memory.log_probs(model, features, piece.targets).sum() if memory is not None else loss.item()
            if adapt is not None:
                adapt.follow(loss * (1.0 / piece.tokens))
                state = model.detach(state)
            total += float(nats)
            count += piece.tokens
            if not math.isfinite(total):
                hint = "a smaller lr may help"
                raise FloatingPointError(message("dynamic evaluation", "loss", "finite numbers", "NaN or Inf", hint))
    return total, count


def gradient_mean_squares(
    model: LanguageModel, tokens: Ids, *, segment: int = 5, batch: int = 100, limit: int | None = None
) -> dict[str, Tensor]:
    """The mean square of the gradient over a text, for the rule "rms": of the mean loss of `batch` segments each.

    Args:
        model: without dropout.
        tokens: the training text's ids.
        segment: steps of a gradient, as in `DynamicOptions`; the state is carried.
        batch: parallel streams.
        limit: gradients at most; default: the whole text.

    Returns:
        By parameter name.
    """
    streams = Streams(tokens, batch=min(batch, max((len(tokens) - 1) // segment, 1)), bptt=segment)
    count = len(streams) if limit is None else min(limit, len(streams))
    sums = {name: Tensor(np.zeros(p.shape), dtype=p.dtype) for name, p in model.named_parameters()}
    state: State | None = None
    with _without_dropout(model), enable_grad():
        for index in range(count):
            piece = streams.chunk(index)
            model.zero_grad()
            loss, state = model.loss(piece.inputs, piece.targets, state)
            loss.backward()
            state = model.detach(state)
            with no_grad():
                for name, parameter in model.named_parameters():
                    if parameter.grad is not None:  # None: a cluster of words that did not come
                        sums[name].add_(parameter.grad * parameter.grad, alpha=1.0 / count)
    return sums


@contextmanager
def _without_dropout(model: LanguageModel) -> Iterator[None]:
    """The mode before is restored, and no gradient is left."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        model.zero_grad()


@contextmanager
def _adapting(
    model: LanguageModel, dynamic: DynamicOptions | None, mean_squares: Mapping[str, Tensor] | None
) -> Iterator[_Follower | None]:
    """What moves the weights inside; afterwards they are what they were, to the bit."""
    if dynamic is None:
        with model.evaluating():
            yield None
        return
    follower = _Follower(model, dynamic, mean_squares)
    with _without_dropout(model), enable_grad():
        try:
            yield follower
        finally:
            follower.give_back()


class _Follower:
    """The weights of a model on their way through a text."""

    def __init__(
        self, model: LanguageModel, options: DynamicOptions, mean_squares: Mapping[str, Tensor] | None
    ) -> None:
        self._model = model
        self._parameters = dict(model.named_parameters())
        self._start = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._lr, self._decay = options.rates
        self._scale: dict[str, Tensor] = {}  # of the gradient, 1 / (sqrt(MS) + eps)
        self._back: dict[str, Tensor] = {}  # min(decay R, 1)
        if options.rule == "rms":
            self._read(mean_squares or {}, options.eps)

    def _read(self, mean_squares: Mapping[str, Tensor], eps: float) -> None:
        if set(mean_squares) != set(self._parameters):
            hint = "gradient_mean_squares gives them"
            got = f"of {len(mean_squares)} others" if mean_squares else "none"
            raise ValueError(message("dynamic evaluation", "mean_squares", "those of the model's gradient", got, hint))
        roots = {name: np.sqrt(value.numpy().astype(np.float64)) for name, value in mean_squares.items()}
        mean = sum(float(root.sum()) for root in roots.values()) / sum(root.size for root in roots.values())
        for name, root in roots.items():
            dtype = self._parameters[name].dtype
            self._scale[name] = Tensor(1.0 / (root + eps), dtype=dtype)
            self._back[name] = Tensor(np.minimum(self._decay * root / (mean or 1.0), 1.0), dtype=dtype)

    def follow(self, loss: Tensor) -> None:
        """One step on the loss of a segment."""
        self._model.zero_grad()
        loss.backward()
        for name, parameter in self._parameters.items():
            scale, back = self._scale.get(name), self._back.get(name)
            dynamic_evaluation_(parameter, self._start[name], self._lr, self._decay, scale, back)

    def give_back(self) -> None:
        """The weights of the beginning."""
        with no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._start[name])


class _Cache:
    """The last states and the tokens that came after them."""

    def __init__(self, options: CacheOptions) -> None:
        self._options = options
        self._keys: Array | None = None
        self._ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def log_probs(self, model: LanguageModel, features: Tensor, targets: NDArray[np.int64]) -> Array:
        """Log p of targets (T, 1) after features (T, 1, H), of which each remembers what came before it."""
        hidden, wanted = features.detach().numpy()[:, 0].astype(np.float64), targets[:, 0]
        plain = _log_probs(model, features.detach(), wanted)
        keys = hidden if self._keys is None else np.concatenate([self._keys, hidden])
        ids = np.concatenate([self._ids, wanted])
        before, steps, window = len(self._ids), len(wanted), self._options.window
        last = before + np.arange(steps)[:, None]  # what step t may see ends before this place
        place = np.arange(len(ids))[None, :]
        seen = (place < last) & (place >= last - window)
        scores = np.where(seen, self._options.theta * (hidden @ keys.T), -np.inf)
        scores -= scores.max(axis=1, keepdims=True, initial=-1e300)
        weights = np.exp(scores)
        found = (weights * (ids[None, :] == wanted[:, None])).sum(axis=1)
        self._keys, self._ids = keys[-window:], ids[-window:]
        some = seen.any(axis=1)
        share = np.where(some, self._options.weight, 0.0)
        cached = share * np.divide(found, weights.sum(axis=1), out=np.zeros(steps), where=some)
        log_cached = np.log(cached, out=np.full(steps, -np.inf), where=cached > 0)
        mixed: Array = np.logaddexp(np.log1p(-share) + plain, log_cached)
        return mixed


def _log_probs(model: LanguageModel, features: Tensor, targets: NDArray[np.int64]) -> Array:
    """The model's own log p of targets (T,) after features (T, 1, H)."""
    with no_grad():
        if isinstance(model.head, nn.Linear):
            losses = model.head_loss(features, targets[:, None], reduction="none")
            return -losses.numpy().astype(np.float64).reshape(-1)
        logs = model.logits(features).numpy()[:, 0]
    return logs[np.arange(len(targets)), targets].astype(np.float64)
