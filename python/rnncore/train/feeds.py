"""What one update of a language model sees: contiguous streams with truncated backpropagation, or padded sentences."""

from __future__ import annotations

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
