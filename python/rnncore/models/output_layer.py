"""The output layer of a language model: a full softmax, one with clusters, or one that is trained on sampled words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnncore import Generator, Tensor, _core, nn
from rnncore._messages import message
from rnncore.nn import functional as F
from rnncore.nn import vocabularies

if TYPE_CHECKING:
    from rnncore.models.language_config import LanguageModelConfig

SOFTMAXES = ("full", "adaptive", "class", "sampled", "nce")
CLUSTERED = ("adaptive", "class")
Head = nn.Linear | nn.AdaptiveLogSoftmaxWithLoss | nn.ClassSoftmax


def default_cutoffs(softmax: str, vocab_size: int, *, tied: bool = False) -> tuple[int, ...]:
    """Where clusters begin, unless one says so.

    Adaptive: at V/15 (at most 4,000) and V/5 (at most 40,000); tied, where no cluster has fewer features, at V/64,
    V/16, V/4 and V/2. Classes: sqrt(V) of equal frequency by Zipf's law.
    """
    if softmax == "class":
        return vocabularies.zipf_cutoffs(vocab_size, math.isqrt(vocab_size))
    if softmax == "adaptive":
        edges = [min(vocab_size // 15, 4_000), min(vocab_size // 5, 40_000)]
        if tied:
            edges = [vocab_size // share for share in (64, 16, 4, 2)]
        return tuple(sorted({max(1, edge) for edge in edges}))
    return ()


def check_softmax(config: LanguageModelConfig) -> None:
    """Refuse options of the output layer that do not go together.

    Raises:
        ValueError: it names them.
    """
    if config.softmax not in SOFTMAXES:
        raise ValueError(message("language model", "softmax", " | ".join(SOFTMAXES), repr(config.softmax)))
    if config.softmax in CLUSTERED:
        shortlist = config.softmax == "adaptive"
        vocabularies.check_cutoffs("language model", config.cutoffs, config.vocab_size, shortlist=shortlist)
        if not 1 <= config.div_value < math.inf:
            raise ValueError(message("language model", "div_value", "1 or more", str(config.div_value)))
    elif config.cutoffs:
        raise ValueError(message("language model", "cutoffs", "none without clusters", str(list(config.cutoffs))))
    if config.samples < 1:
        raise ValueError(message("language model", "samples", "at least 1", str(config.samples)))


def make_head(config: LanguageModelConfig, generator: Generator) -> Head:
    """The output layer with fresh parameters."""
    sizes = (config.head_inputs, config.vocab_size)
    options: dict[str, Any] = {"dtype": config.dtype, "generator": generator}
    if config.softmax == "adaptive" and not config.tie_weights:
        return nn.AdaptiveLogSoftmaxWithLoss(*sizes, config.cutoffs, config.div_value, head_bias=True, **options)
    if config.softmax in CLUSTERED:
        return nn.ClassSoftmax(*sizes, config.cutoffs, **options)
    head = nn.Linear(*sizes, **options)
    if config.softmax == "nce" and head.bias is not None:
        nn.init.constant_(head.bias, -math.log(config.vocab_size))  # its outputs are to be log-probabilities
    return head


def words_of(head: Head) -> nn.Linear:
    """The linear layer with a row for every word; a head with projected clusters has none."""
    if isinstance(head, nn.AdaptiveLogSoftmaxWithLoss):
        raise TypeError("a softmax with projected clusters has no one matrix of words")
    return head if isinstance(head, nn.Linear) else head.words


def make_projection(config: LanguageModelConfig, generator: Generator) -> nn.Linear | None:
    """The linear layer between stack and softmax, or None."""
    if config.projection_size == 0:
        return None
    sizes = (config.layer_sizes[-1], config.projection_size)
    return nn.Linear(*sizes, bias=False, dtype=config.dtype, generator=generator)


def spec_of(config: LanguageModelConfig) -> tuple[str, Sequence[int], float] | None:
    """What `_core.ModelSpec` says about it: sampled words matter in training alone."""
    return (config.softmax, config.cutoffs, config.div_value) if config.softmax in CLUSTERED else None


def logits(head: Head, features: Tensor) -> Tensor:
    """(..., H) -> (..., V): logits, or, with clusters, log-probabilities, which are logits too."""
    if isinstance(head, nn.Linear):
        scores: Tensor = head(features)
        return scores
    return head.log_prob(features.reshape(-1, features.shape[-1])).reshape(*features.shape[:-1], head.n_classes)


def exact_loss(head: Head, features: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """Cross-entropy of targets (R,) after features (R, H), without holding the logits."""
    if isinstance(head, nn.Linear):
        return F.linear_cross_entropy(features, head.weight, head.bias, targets, reduction=reduction)
    return head.loss(features, targets, reduction=reduction)


def sampled_loss(
    config: LanguageModelConfig, head: nn.Linear, features: Tensor, targets: Tensor, generator: Generator
) -> Tensor:
    """What "sampled" and "nce" are trained on, the mean over the targets: noise by Zipf's law, shared by the rows."""
    size, count = config.vocab_size, config.samples
    samples = vocabularies.log_uniform(generator, size, count)
    wanted = targets.numpy()
    wanted = wanted[wanted != -100]
    log_count = math.log(count)
    expected = [log_count + vocabularies.log_uniform_log_prob(ids, size) for ids in (samples, wanted)]
    assert head.bias is not None  # noqa: S101  # `make_head` made it
    loss = vocabularies.nce_loss if config.softmax == "nce" else vocabularies.sampled_softmax_loss
    return loss(features, head.weight, head.bias, targets, samples, *expected)


def trains_on_samples(config: LanguageModelConfig, training: bool) -> bool:
    """Whether the loss is one over sampled words: in training only, never when a text is scored."""
    return config.softmax in ("sampled", "nce") and training and _core.grad_enabled()
