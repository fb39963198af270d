"""Which earlier tokens moved a language model's prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnncore import Tensor, no_grad
from rnncore._messages import message, positive
from rnncore.data.batches import Ids
from rnncore.inspect.units import coloured, ids_of, token_texts
from rnncore.inspect.watch import watched
from rnncore.models import LanguageModel
from rnncore.nn import functional as F

if TYPE_CHECKING:
    from rich.text import Text

Array = NDArray[Any]


@dataclass(frozen=True)
class Saliency:
    """What each token did to the prediction that follows them all.

    Attributes:
        tokens: (T,) ids of the tokens read.
        texts: the same as text, where the model has a vocabulary.
        target: id of the predicted token.
        log_prob: log P(target | tokens), in nats.
        scores: (T,), in nats: above 0 the token made the target more probable.
    """

    tokens: Ids
    texts: tuple[str, ...]
    target: int
    log_prob: float
    scores: Array

    def coloured(self) -> Text:
        """The text for a terminal: red made the target more probable, blue less (`print` of `rich`)."""
        return coloured(self.texts, self.scores)


def gradient_times_input(model: LanguageModel, text: str | bytes | Ids, target: str | int | None = None) -> Saliency:
    """Sum over features of x_t * d log P(target | x_1..x_T) / d x_t, x the tokens' embeddings.

    To first order, what the embedding adds to log P over a zero in its place (Simonyan et al. 2014; Shrikumar et al.
    2016); one backward pass for all tokens.

    Args:
        model: evaluated without dropout.
        text: text, or ids (T,).
        target: a token or its id. Default: the most probable one.

    Raises:
        ValueError: no token, or a target that is no single token.
    """
    ids = ids_of(model, text, "gradient times input")
    with watched(model):
        x = F.embedding(Tensor(ids[:, None]), model.embedding.weight).detach().requires_grad_()
        output, _ = model.rnn(x)
        log_probs = F.log_softmax(model.logits(output[-1]), -1)
        wanted = _target(model, target, log_probs.numpy()[0], "gradient times input")
        log_probs[0, wanted].backward()
        scores = (np.asarray(x.grad, dtype=np.float64) * x.detach().numpy()).sum(axis=2)[:, 0]
    return Saliency(ids, token_texts(model, ids), wanted, float(log_probs.numpy()[0, wanted]), scores)


def leave_one_out(
    model: LanguageModel, text: str | bytes | Ids, target: str | int | None = None, *, batch: int = 64
) -> Saliency:
    """Log P(target | all tokens) - log P(target | all but token t), for every t: exact (Li, Monroe & Jurafsky 2016).

    The tokens after t move up. T shorter texts of T - 1 tokens are read, `batch` at a time.

    Args:
        model: evaluated without dropout.
        text: text, or ids (T,).
        target: a token or its id. Default: the most probable one.
        batch: texts read at a time. Default: 64.

    Raises:
        ValueError: fewer than two tokens, or a target that is no single token.
    """
    positive("leave one out", "batch", batch)
    ids = ids_of(model, text, "leave one out")
    if len(ids) < 2:
        raise ValueError(message("leave one out", "text", "at least 2 tokens", str(len(ids))))
    whole = _next_log_probs(model, ids[:, None])[0]
    wanted = _target(model, target, whole, "leave one out")
    without = np.stack([np.delete(ids, t) for t in range(len(ids))], axis=1)
    rest = [_next_log_probs(model, without[:, at : at + batch])[:, wanted] for at in range(0, len(ids), batch)]
    scores = whole[wanted] - np.concatenate(rest)
    return Saliency(ids, token_texts(model, ids), wanted, float(whole[wanted]), scores)


def _next_log_probs(model: LanguageModel, ids: Ids) -> Array:
    """(N, V): log P of what follows each column of ids (T, N)."""
    with model.evaluating(), no_grad():
        features, _ = model.features(np.ascontiguousarray(ids))
        return np.array(F.log_softmax(model.logits(features[-1]), -1).numpy(), dtype=np.float64)


def _target(model: LanguageModel, target: str | int | None, log_probs: Array, operation: str) -> int:
    if target is None:
        return int(log_probs.argmax())
    if isinstance(target, str):
        found = model.require_vocabulary().encode(target, end_line=False)
        if len(found) != 1:
            raise ValueError(message(operation, "target", "one token", f"{target!r}, which is {len(found)}"))
        return int(found[0])
    if not 0 <= target < len(log_probs):
        raise ValueError(message(operation, "target", f"an id within [0, {len(log_probs)})", str(target)))
    return int(target)
