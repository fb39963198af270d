"""Seq2Seq: a text to another text, by an encoder, attention and a decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnncore import Generator, Tensor, _core, nn
from rnncore._messages import message
from rnncore.data.batches import IGNORE, Ids
from rnncore.data.subwords import TextVocabulary, vocabulary_from_json
from rnncore.models.base import Model
from rnncore.models.classifier import pad_ids
from rnncore.models.labeller import Stack, stack_json
from rnncore.models.translating import Translation, translations, translations_of
from rnncore.models.writing import Writing
from rnncore.nn import functional as F


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The sizes and options of a `Seq2Seq`; see there."""

    source_size: int
    target_size: int
    embedding_size: int = 256
    hidden_size: int = 512
    num_layers: int = 1
    cell: str = "gru"
    score: str = "bilinear"
    input_feeding: bool = False
    tie_weights: bool = False
    dropout: float = 0.0
    label_smoothing: float = 0.0
    lower: bool = False
    beams: int = 5
    alpha: float = 1.0
    dtype: str = "float32"


@dataclass(frozen=True)
class PairBatch:
    """Padded pairs: `source` (Ts, N), `lengths` (N,), `inputs` (T, N) and `targets` (T, N), -100 where padded."""

    source: NDArray[np.int64]
    lengths: NDArray[np.int64]
    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]

    @property
    def items(self) -> int:
        """Target tokens, what a mean loss is a mean over."""
        return int(np.count_nonzero(self.targets != IGNORE))


@dataclass(frozen=True)
class Memory:
    """What the encoder made of N texts: its outputs (Ts, N, 2 [H/2]), keys for queries, the decoder's first state.

    Nothing changes it, so any number of translations may start from it.
    """

    source: NDArray[np.int64]
    outputs: Tensor
    keys: Tensor
    lengths: NDArray[np.int64]
    state: nn.State


class Seq2Seq(Model):
    """P(target | source): bidirectional encoder, attention, decoder (Luong, Pham & Manning 2015, global attention).

    The decoder's state h_t asks the encoder's outputs for a context c_t; a_t = tanh(W [c_t, h_t]) gives the logits of
    the next token. So in training the decoder is one pass over all steps, and attention one operation. With input
    feeding a_(t-1) is a part of the decoder's input at step t, which makes a step wait for the one before.

    Args:
        source: vocabulary of what is read; it has an end of line, as the other.
        target: vocabulary of what is written. Its end of line starts a text, too.
        embedding_size: of a token of either side; default 256.
        hidden_size: H, of the decoder; of each direction of the encoder H / 2; default 512.
        num_layers: of encoder and decoder; default 1.
        cell: "gru" (default), "lstm", "rnn-tanh", ...
        score: of the attention: "dot", "bilinear" (default) or "additive".
        input_feeding: see above; default False.
        tie_weights: the head's weights are the target's embedding, and a_t has its size; default False.
        dropout: probability, in training, on embeddings, between layers and on a_t; default 0.
        label_smoothing: of the training loss (Szegedy et al. 2016); default 0.
        lower: texts are read in lower case (subwords do that by themselves); default False.
        beams, alpha: of `translate`, where it is not told otherwise: see `beam.beam_search`; default 5 and 1.
        dtype: "float32" (default) or "float64".
        generator: source of the initial weights and of dropout; default: seed 0.

    Parameters: ``source_embedding.weight``, ``target_embedding.weight``, ``encoder.*``, ``decoder.*``,
    ``bridge_h_l0.*`` (and the like: the encoder's last states to the decoder's first), ``attention.*``,
    ``combine.weight`` (A, 2 [H/2] + H), ``head.weight`` (V, A) unless tied, ``head.bias`` (V).
    """

    kind: ClassVar[str] = "seq2seq"

    def __init__(
        self,
        source: TextVocabulary,
        target: TextVocabulary,
        *,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.config = config = Seq2SeqConfig(len(source), len(target), **options)
        self.source, self.target = source, target
        self.end = _check(config, source, target)  # starts and ends what is written
        self.generator = generator = Generator(0) if generator is None else generator
        common: dict[str, Any] = {"dtype": config.dtype, "generator": generator}
        E, H = config.embedding_size, config.hidden_size  # noqa: N806
        attended = E if config.tie_weights else H
        between = config.dropout if config.num_layers > 1 else 0.0
        self.source_embedding = nn.Embedding(len(source), E, **common)
        self.target_embedding = nn.Embedding(len(target), E, **common)
        for table in (self.source_embedding, self.target_embedding):
            nn.init.scale_(table.weight, E**-0.5)
        encoder = stack_json(E, config.cell, H // 2, config.num_layers, bidirectional=True, dropout=between)
        decoder = stack_json(
            E + (attended if config.input_feeding else 0), config.cell, H, config.num_layers, dropout=between
        )
        self.encoder, self.decoder = Stack(encoder, **common), Stack(decoder, **common)
        _, states = self.decoder(_core.full((1, 1, decoder["input_size"]), 0.0, config.dtype))
        self._states = sorted(states)
        for name in self._states:
            setattr(self, f"bridge_{name}", nn.Linear(2 * (H // 2), H, **common))
        self.attention = nn.Attention(H, 2 * (H // 2), config.score, **common)
        self.combine = nn.Linear(2 * (H // 2) + H, attended, bias=False, **common)
        self.head = nn.Linear(attended, len(target), **common)
        if config.tie_weights:
            self.head.weight = self.target_embedding.weight
        self.drop = nn.Dropout(config.dropout, generator=generator)

    # The network ---------------------------------------------------------------------------------------------
    def encode(self, source: NDArray[np.int64], lengths: NDArray[np.int64]) -> Memory:
        """Read texts: ids (Ts, N), lengths (N,)."""
        outputs, last = self.encoder(self.drop(self.source_embedding(source)), lengths=lengths)
        outputs = self.drop(outputs)
        state = nn.State()
        for name in self._states:
            both = _core.cat([last[name], last[f"{name}_reverse"]], 1)
            state[name] = getattr(self, f"bridge_{name}")(self.drop(both)).tanh()
        return Memory(source, outputs, self.attention.keys(outputs), lengths, state)

    def attend(self, hidden: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """The attentional vectors a (T, N, A) of decoder states (T, N, H), and the weights (T, N, Ts)."""
        context, weights = self.attention(hidden, memory.outputs, memory.lengths, keys=memory.keys)
        return self.combine(_core.cat([context, hidden], 2)).tanh(), weights

    def decode(self, inputs: NDArray[np.int64], memory: Memory) -> Tensor:
        """The attentional vectors (T, N, A) with the right tokens as inputs (T, N): teacher forcing."""
        embedded = self.drop(self.target_embedding(inputs))
        if not self.config.input_feeding:
            hidden, _ = self.decoder(embedded, memory.state)
            return self.attend(self.drop(hidden), memory)[0]
        state, attended = memory.state, []
        last = _core.full((1, inputs.shape[1], self.combine.weight.shape[0]), 0.0, self.config.dtype)
        for t in range(len(inputs)):
            hidden, state = self.decoder(_core.cat([embedded[t : t + 1], last], 2), state)
            last, _ = self.attend(self.drop(hidden), memory)
            attended.append(last)
        return _core.cat(attended, 0)

    def forward(self, batch: PairBatch) -> Tensor:
        """Logits (T, N, V) of the next target token."""
        logits: Tensor = self.head(self.drop(self.decode(batch.inputs, self.encode(batch.source, batch.lengths))))
        return logits

    def loss(self, batch: PairBatch) -> Tensor:
        """Mean cross-entropy of a target token in nats, in training smoothed."""
        attended = self.drop(self.decode(batch.inputs, self.encode(batch.source, batch.lengths)))
        rows = attended.reshape(-1, attended.shape[2])
        smoothing = self.config.label_smoothing if self.training else 0.0
        targets = batch.targets.reshape(-1)
        return F.linear_cross_entropy(rows, self.head.weight, self.head.bias, targets, label_smoothing=smoothing)

    # Texts ---------------------------------------------------------------------------------------------------
    def source_ids(self, text: str) -> Ids:
        """The ids of a text to be read, with the end of line."""
        return _line(self.source, text, lower=self.config.lower)

    def target_ids(self, text: str) -> Ids:
        """The ids of a text to be written, with the end of line."""
        return _line(self.target, text, lower=self.config.lower)

    def batch_of(self, sources: Sequence[Ids], targets: Sequence[Ids]) -> PairBatch:
        """Pairs of any lengths as one padded batch."""
        source, lengths = pad_ids(sources)
        wanted, _ = pad_ids(targets, fill=IGNORE)
        inputs = np.full_like(wanted, self.end)
        inputs[1:] = np.where(wanted[:-1] == IGNORE, self.end, wanted[:-1])
        return PairBatch(source, lengths, inputs, wanted)

    def read(self, texts: Sequence[str]) -> Memory:
        """Texts, read once: `translations` may be asked of them again and again, with other prefixes or draws."""
        with self.evaluating():
            return self.encode(*pad_ids([self.source_ids(text) for text in texts]))

    def translations(self, texts: Sequence[str] | Memory, *, batch: int = 64, **how: Any) -> list[list[Translation]]:
        """Translations of each text (or of what `read` gave), the best first, or as drawn.

        Args:
            texts: texts, or a `Memory`.
            batch: texts that are read together; the translations do not depend on it.
            how: beams, alpha, sampling, top, prefix, stop: see `Writing`. What is drawn for text i depends on (seed, i)
                and not on the other texts.
        """
        if isinstance(texts, Memory):
            return translations_of(self, texts, Writing(**how))
        return translations(self, texts, Writing(**how), batch)

    def translate(self, texts: Sequence[str] | Memory, *, batch: int = 64, **how: Any) -> list[Translation]:
        """The best translation of each text; arguments as `translations`. 1 beam: greedy search."""
        return [found[0] for found in self.translations(texts, batch=batch, **how)]

    # Files ---------------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON."""
        return asdict(self.config)

    def assets(self) -> dict[str, Any]:
        """Both vocabularies."""
        return {"source_vocabulary": self.source.to_json(), "target_vocabulary": self.target.to_json()}

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Generator | None = None
    ) -> Seq2Seq:
        """See `Model.from_dict`."""
        tables = [vocabulary_from_json(assets[f"{side}_vocabulary"]) for side in ("source", "target")]
        options = {name: value for name, value in config.items() if name not in ("source_size", "target_size")}
        return cls(tables[0], tables[1], generator=generator, **options)

    def describe(self) -> dict[str, str]:
        """See `Model.describe`."""
        config = self.config
        fed = ", input feeding" if config.input_feeding else ""
        sizes = f"{config.num_layers} x {config.hidden_size}, embeddings {config.embedding_size}"
        return {
            "network": f"{config.cell}, bidirectional encoder and decoder, {sizes}, dropout {config.dropout:g}",
            "attention": f"{config.score}{fed}",
            "source": self.source.describe(),
            "target": self.target.describe(),
            "search": f"{config.beams} beams, length penalty {config.alpha:g}",
        }


def _line(vocabulary: TextVocabulary, text: str, *, lower: bool) -> Ids:
    ids = vocabulary.encode(text.lower() if lower else text, end_line=False)
    return np.array([*ids.tolist(), vocabulary.end_id], dtype=np.int64)


def _check(config: Seq2SeqConfig, source: TextVocabulary, target: TextVocabulary) -> int:
    """The target's end of line."""
    if source.end_id is None or target.end_id is None:
        side = "source" if source.end_id is None else "target"
        raise ValueError(message("seq2seq", side, "a vocabulary with an end of line", "none"))
    if config.hidden_size < 2 or config.hidden_size % 2:
        raise ValueError(message("seq2seq", "hidden_size", "an even number", str(config.hidden_size)))
    if not 0 <= config.label_smoothing < 1:
        raise ValueError(message("seq2seq", "label_smoothing", "in [0, 1)", str(config.label_smoothing)))
    if config.num_layers < 1 or config.beams < 1:
        sizes = f"{config.num_layers}, {config.beams}"
        raise ValueError(message("seq2seq", "num_layers, beams", "at least 1", sizes))
    return target.end_id
