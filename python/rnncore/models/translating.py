"""Translating with a `Seq2Seq`: its decoder as a step function, and what is told about each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnncore import Tensor, _core, nn
from rnncore.beam import Rows
from rnncore.models.writing import Writing
from rnncore.nn import functional as F

if TYPE_CHECKING:
    from rnncore.models.seq2seq import Memory, Seq2Seq


@dataclass(frozen=True)
class Translation:
    """A translated text.

    Attributes:
        text: the text.
        log_prob, score, finished: as in `beam.Hypothesis`.
        source_pieces: what was read, in pieces.
        target_pieces: what was written, in pieces: a prefix, the text, its end.
        weights: where the decoder looked as it wrote each piece (target pieces, source pieces).
        log_probs: of each target piece after the prefix, in nats.
    """

    text: str
    log_prob: float
    score: float
    finished: bool
    source_pieces: list[str]
    target_pieces: list[str]
    weights: NDArray[Any]
    log_probs: tuple[float, ...]


class Stepper:
    """The decoder as a step function of `rnncore.beam`; hypotheses of one text are queries of one memory."""

    def __init__(self, model: Seq2Seq, memory: Memory) -> None:
        self._model, self._memory, self._state = model, memory, memory.state
        size = model.combine.weight.shape[0]
        self._attended = _core.full((len(memory.lengths), size), 0.0, model.config.dtype)

    def look(self, tokens: Rows, rows: Rows) -> tuple[Tensor, Tensor]:
        """One step: attentional vectors (1, R, A) and weights (R / N, N, Ts)."""
        model, count = self._model, len(self._memory.lengths)
        same = len(rows) == count and np.array_equal(rows, np.arange(count))
        state = self._state if same else nn.State({k: F.embedding(rows, v) for k, v in self._state.items()})
        embedded = model.target_embedding(tokens[None])
        if model.config.input_feeding:
            before = self._attended if same else F.embedding(rows, self._attended)
            embedded = _core.cat([embedded, before.reshape(1, len(rows), -1)], 2)
        hidden, self._state = model.decoder(embedded, state)
        queries = hidden.reshape(len(rows) // count, count, hidden.shape[2])
        attended, weights = model.attend(queries, self._memory)
        self._attended = attended.reshape(len(rows), -1)
        return self._attended, weights

    def __call__(self, tokens: Rows, rows: Rows) -> NDArray[Any]:
        """See `rnncore.beam.Step`."""
        attended, _ = self.look(tokens, rows)
        log_probs: NDArray[Any] = self._model.head(attended).log_softmax(-1).numpy()
        return log_probs


def translations(model: Seq2Seq, texts: Sequence[str], how: Writing, batch: int) -> list[list[Translation]]:
    """Translations of each text, read in batches of about equal lengths."""
    lengths = [len(model.source_ids(text)) for text in texts]
    order = np.argsort(lengths, kind="stable")
    made: dict[int, list[Translation]] = {}
    for at in range(0, len(order), batch):
        part = order[at : at + batch].tolist()
        memory = model.read([texts[n] for n in part])
        made.update(zip(part, translations_of(model, memory, how, part), strict=True))
    return [made[n] for n in range(len(texts))]


def translations_of(
    model: Seq2Seq, memory: Memory, how: Writing, numbers: Sequence[int] | None = None
) -> list[list[Translation]]:
    """Translations of texts that were read already; a text of L tokens gets at most 2 L + 10."""
    with model.evaluating():
        found = how.find(
            Stepper(model, memory), model.target, len(memory.lengths), usual=(model.config.beams, model.config.alpha),
            max_length=(2 * memory.lengths + 10).tolist(), numbers=numbers,
        )  # fmt: skip
    prefix, end = how.prefix_ids(model.target), [model.end]
    written = [[[*prefix, *one.tokens, *end[: len(one.log_probs) - len(one.tokens)]] for one in each] for each in found]
    weights = alignment(model, memory, written)
    made = []
    for n, each in enumerate(found):
        source = memory.source[: memory.lengths[n], n]
        pieces = model.source.pieces(source)
        made.append([
            Translation(
                how.text_of(model.target, one), one.log_prob, one.score, one.finished, pieces,
                model.target.pieces(ids), weights[: len(ids), b, n, : len(source)], one.log_probs,
            )
            for b, (one, ids) in enumerate(zip(each, written[n], strict=True))
        ])  # fmt: skip
    return made


def alignment(model: Seq2Seq, memory: Memory, written: Sequence[Sequence[Sequence[int]]]) -> NDArray[Any]:
    """The attention weights (T, B, N, Ts) as each of N texts is written in each of at most B ways."""
    count, width = len(written), max(map(len, written))
    longest = max((len(ids) for each in written for ids in each), default=0)
    inputs = np.full((longest, width, count), model.end, dtype=np.int64)
    for n, each in enumerate(written):
        for b, ids in enumerate(each):
            inputs[1 : len(ids), b, n] = ids[:-1]
    with model.evaluating():
        stepper, weights = Stepper(model, memory), []
        rows = np.tile(np.arange(count), width)
        for tokens in inputs:
            weights.append(stepper.look(tokens.reshape(-1), rows)[1].numpy())
            rows = np.arange(count * width)
    return np.stack(weights)
