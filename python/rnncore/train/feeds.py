"""What one update of a language model sees: contiguous streams with truncated backpropagation, or padded sentences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnncore import Tensor, cat
from rnncore.data import Sentences, Streams, TextCorpus
from rnncore.models.language_model import LanguageModel
from rnncore.train.config import TrainConfig
from rnncore.train.task import State


class StreamFeed:
    """TBPTT(k1, k2) over N contiguous streams (Williams & Peng 1990).

    Update i has the k1 new steps i*k1 .. (i+1)*k1-1 in its loss. Its window begins k2 steps before their end: it is
    replayed with the current weights from the state that the update before saved there, and the gradient goes back
    to its first step. With k1 = k2 this is the usual chunk with carried state.
    """

    def __init__(self, corpus: TextCorpus, config: TrainConfig) -> None:
        self._streams: Streams = corpus.streams("train", batch=config.batch, bptt=config.bptt)
        self._new, self._back = config.bptt, config.window

    def __len__(self) -> int:
        return len(self._streams)

    def loss(
        self, model: LanguageModel, epoch: int, index: int, state: State | None
    ) -> tuple[Tensor, int, State | None]:
        """See `Feed`; `state` is the one at the window's first step."""
        new = self._new
        stop = (index + 1) * new
        start = max(0, stop - self._back)
        next_start = max(0, stop + new - self._back)
        window = self._streams.rows(start, stop)
        split = next_start - start  # steps after which the next window begins
        if split == stop - start:
            loss, state = model.loss(window.inputs, window.targets, state)
            return loss, window.targets.size, model.detach(state)
        targets = window.targets[-new:]
        if split == 0:
            features, _ = model.features(window.inputs, state)
            return model.head_loss(features[-new:], targets), targets.size, state
        first, middle = model.features(window.inputs[:split], state)
        second, _ = model.features(window.inputs[split:], middle)
        features = cat([first, second], 0)[-new:]
        return model.head_loss(features, targets), targets.size, model.detach(middle)


class VaryingFeed:
    """Contiguous streams in chunks of varying length (Merity et al. 2018, section 4).

    Lengths are N(bptt, 5^2), with probability 0.05 N(bptt / 2, 5^2), at least 5. Every epoch has as many updates as the
    expected length gives: the lengths drawn are scaled by a factor near 1, so that they fill it. They depend on
    (seed, epoch) alone.
    """

    _USUAL, _DEVIATION, _LEAST = 0.95, 5.0, 5.0

    def __init__(self, corpus: TextCorpus, config: TrainConfig) -> None:
        self._streams: Streams = corpus.streams("train", batch=config.batch, bptt=config.bptt)
        self._bptt, self._seed = config.bptt, config.seed
        expected = config.bptt * (self._USUAL + (1.0 - self._USUAL) / 2.0)
        self._updates = max(round(self._streams.length / expected), 1)
        self._epoch, self._bounds = -1, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return self._updates

    def bounds(self, epoch: int) -> NDArray[np.int64]:
        """Where the chunks of an epoch begin, and after the last of them the end."""
        if epoch != self._epoch:
            draws = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
            means = np.where(draws.random(self._updates) < self._USUAL, self._bptt, self._bptt / 2.0)
            lengths = np.maximum(draws.normal(means, self._DEVIATION), self._LEAST)
            ends = np.rint(np.cumsum(lengths) * (self._streams.length / lengths.sum()))
            self._epoch, self._bounds = epoch, np.concatenate([[0], ends]).astype(np.int64)
        return self._bounds

    def loss(
        self, model: LanguageModel, epoch: int, index: int, state: State | None
    ) -> tuple[Tensor, int, State | None]:
        """See `Feed`; `state` is the one after the chunk before."""
        start, stop = self.bounds(epoch)[index : index + 2].tolist()
        chunk = self._streams.rows(start, stop)
        loss, state = model.loss(chunk.inputs, chunk.targets, state)
        return loss, chunk.targets.size, model.detach(state)


class SentenceFeed:
    """Padded sentences in an order that depends on (seed, epoch) alone; every sentence begins with a zero state."""

    def __init__(self, corpus: TextCorpus, config: TrainConfig) -> None:
        self._sentences: Sentences = corpus.sentences("train", batch=config.batch, max_length=config.bptt)
        self._seed = config.seed

    def __len__(self) -> int:
        return len(self._sentences)

    def loss(
        self, model: LanguageModel, epoch: int, index: int, state: State | None
    ) -> tuple[Tensor, int, State | None]:
        """See `Feed`; no state is carried."""
        batch = self._sentences.batch_of(index, self._sentences.order(self._seed, epoch))
        loss, _ = model.loss(batch.inputs, batch.targets, lengths=batch.lengths)
        return loss, batch.tokens, None
