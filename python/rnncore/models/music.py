"""PolyphonicMusic: which of 88 keys sound next, each with a probability of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnncore import Generator, Tensor
from rnncore._messages import message
from rnncore.data.music import KEYS, Roll, pad
from rnncore.models.features import FeatureModel
from rnncore.nn import functional as F


@dataclass(frozen=True)
class MusicBatch:
    """Pieces as `x` (T, N, 88), what sounds at each step, and `lengths` (N,)."""

    x: NDArray[np.float32]
    lengths: NDArray[np.int64]

    @property
    def items(self) -> int:
        """Steps that are predicted: all but the first of each piece."""
        return int(self.lengths.sum()) - len(self.lengths)


class PolyphonicMusic(FeatureModel):
    """P(keys at t + 1 | keys at 1..t) = product over keys of sigmoid(W h_t + b) (Boulanger-Lewandowski et al. 2012).

    Args:
        options: see `FeatureModel`.

    Example:
        >>> model = PolyphonicMusic(hidden_size=8)
        >>> model.play(np.zeros((4, 88)), 3).shape
        (3, 88)
    """

    kind: ClassVar[str] = "multilabel"

    def __init__(self, **options: Any) -> None:
        if options.get("bidirectional"):
            reason = "a backward direction would read what is to be told"
            raise ValueError(message("music", "bidirectional", "False", "True", reason))
        super().__init__(KEYS, KEYS, **options)

    def total(self, batch: MusicBatch) -> Tensor:
        """Negative log-likelihood in nats, over all keys and all steps but each piece's first."""
        y, _ = self(batch.x[:-1])
        inside = np.arange(1, len(batch.x))[:, None] < batch.lengths[None, :]
        target = Tensor(np.ascontiguousarray(batch.x[1:], dtype=self.dtype))
        return F.binary_cross_entropy_with_logits(y, target, mask=inside, reduction="sum")

    def loss(self, batch: MusicBatch) -> Tensor:
        """The same a step: summed over keys, mean over steps."""
        return self.total(batch) / batch.items

    def score(self, rolls: Sequence[Roll], *, batch: int = 32) -> dict[str, float]:
        """Negative log-likelihood of pieces in nats a step, summed over keys.

        Returns:
            "loss": the mean over all steps of all pieces; "by_piece": the mean over pieces of each piece's mean.
        """
        total, means = 0.0, []
        with self.evaluating():
            for at in range(0, len(rolls), batch):
                part = MusicBatch(*pad(rolls[at : at + batch]))
                y, _ = self(part.x[:-1])
                target = Tensor(np.ascontiguousarray(part.x[1:], dtype=self.dtype))
                each = F.binary_cross_entropy_with_logits(y, target, reduction="none").numpy().sum(axis=2)
                for n, length in enumerate(part.lengths):
                    nats = float(each[: length - 1, n].sum(dtype=np.float64))
                    total += nats
                    means.append(nats / (int(length) - 1))
        return {"loss": total / sum(len(roll) - 1 for roll in rolls), "by_piece": float(np.mean(means))}

    def play(self, start: NDArray[Any], steps: int, *, generator: Generator | None = None, bias: float = 0.0) -> Roll:
        """Go on after `start` (T, 88) for some steps (steps, 88): each key is drawn with its probability.

        Args:
            start: what has sounded, at least one step.
            steps: how many to draw.
            generator: of the draws; default: seed 0.
            bias: added to all logits; below 0 fewer keys sound.
        """
        draw = Generator(0) if generator is None else generator
        x: NDArray[Any] = np.asarray(start, dtype=self.dtype)[:, None]
        played, state = [], None
        with self.evaluating():
            for _ in range(steps):
                y, state = self(x, state)
                chances = 1 / (1 + np.exp(-(y.numpy()[-1].astype(np.float64) + bias)))
                noise = Tensor(np.zeros(chances.shape, dtype=np.float64))
                draw.uniform_(noise, 0.0, 1.0)
                x = (noise.numpy() < chances).astype(self.dtype)[None]
                played.append(x[0, 0].astype(np.uint8))
        return np.stack(played)
