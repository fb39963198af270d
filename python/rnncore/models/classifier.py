"""Classifier: one label for a whole sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnncore import Generator, Tensor, _core
from rnncore._tensor import as_integers
from rnncore.data.batches import Ids
from rnncore.data.vocabulary import Vocabulary
from rnncore.models.labeller import Labeller, LabellerConfig, config_of, stack_json, vocabulary_of
from rnncore.nn import functional as F


@dataclass(frozen=True)
class ClassifierBatch:
    """Padded sequences: `ids` (T, N) or features `x` (T, N, I), `lengths` (N,), `targets` (N,) where they are known."""

    lengths: NDArray[np.int64]
    ids: NDArray[np.int64] | None = None
    x: NDArray[Any] | None = None
    targets: NDArray[np.int64] | None = None

    @property
    def items(self) -> int:
        """N, what a mean loss is a mean over."""
        return len(self.lengths)


def pad_ids(sequences: Sequence[Ids], *, fill: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences of ids side by side (T, N), padded with `fill`, and their lengths (N,)."""
    lengths = np.array([len(ids) for ids in sequences], dtype=np.int64)
    padded = np.full((max(int(lengths.max(initial=0)), 1), len(sequences)), fill, dtype=np.int64)
    for column, ids in enumerate(sequences):
        padded[: len(ids), column] = as_integers("pad ids", f"sequences[{column}]", ids)
    return padded, lengths


class Classifier(Labeller):
    """P(label | sequence): embedding, recurrent stack, pooling over the valid steps, linear, softmax.

    Args:
        vocabulary: for texts, by characters or words; None: the model reads features.
        labels: the O classes.
        input_size: the number of features, where there is no vocabulary.
        embedding_size: E; default 64.
        hidden_size: H, of each direction; default 128.
        num_layers: default 1.
        cell: "lstm" (default), "gru", "rnn-tanh", ...
        bidirectional: default True.
        pooling: "last" (states after the last step, of the reverse direction after the first), "mean" or "max" of the
            outputs; default "max".
        dropout: probability, in training, on the stack's input, between layers and on what is pooled; default 0.
        embedding_dropout: probability, in training, of a token's whole embedding; default 0.
        embedding_scale: standard deviation of the embedding's start values; default 1.
        dtype: "float32" (default) or "float64".
        generator: source of the initial weights and of dropout; default: seed 0.

    Example:
        >>> model = Classifier(Vocabulary.build("abc", unknown=True), ["vowel", "other"], hidden_size=8)
        >>> len(model.probabilities(["abba", "c"]))
        2
    """

    kind: ClassVar[str] = "classifier"

    def __init__(
        self,
        vocabulary: Vocabulary | None,
        labels: Sequence[str],
        *,
        input_size: int = 0,
        embedding_size: int = 64,
        hidden_size: int = 128,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = True,
        pooling: str = "max",
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        embedding_scale: float = 1.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        size = embedding_size if vocabulary is not None else input_size
        between = dropout if num_layers > 1 else 0.0
        stack = stack_json(size, cell, hidden_size, num_layers, bidirectional=bidirectional, dropout=between)
        config = LabellerConfig(
            outputs=len(labels), vocab_size=0 if vocabulary is None else len(vocabulary),
            embedding_size=0 if vocabulary is None else embedding_size, recurrent=stack, pooling=pooling,
            dropout=dropout, embedding_dropout=embedding_dropout, dtype=dtype,
        )  # fmt: skip
        super().__init__(config, labels, vocabulary=vocabulary, embedding_scale=embedding_scale, generator=generator)

    def forward(self, batch: ClassifierBatch) -> Tensor:
        """Logits (N, O)."""
        config = self.config
        plain = config.vocab_size and not (self.training and (config.dropout > 0 or config.embedding_dropout > 0))
        if plain:  # nothing stands between the embedding and the first layer: its input product is a table
            output, state = self.rnn(Tensor(batch.ids), lengths=batch.lengths, embedding=self.embedding.weight)
        else:
            output, state = self.rnn(self.embed(batch), lengths=batch.lengths)
        if config.pooling == "last":
            pooled = self.rnn.last(state)
        else:
            pooled = (F.max_over_time if config.pooling == "max" else F.mean_over_time)(output, batch.lengths)
        logits: Tensor = self.head(self.drop(pooled))
        return logits

    def loss(self, batch: ClassifierBatch) -> Tensor:
        """Mean cross-entropy in nats."""
        return F.cross_entropy(self(batch), batch.targets)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text."""
        vocabulary = self.require_vocabulary()
        return [vocabulary.encode(text, end_line=False) for text in texts]

    def probabilities(self, texts: Sequence[str], *, batch: int = 256) -> NDArray[Any]:
        """P(label | text) of each text (n, O)."""
        found = [np.empty((0, self.config.outputs), self.config.dtype)]
        with self.evaluating():
            for at in range(0, len(texts), batch):
                ids, lengths = pad_ids(self.encode(texts[at : at + batch]))
                found.append(np.array(self(ClassifierBatch(lengths, ids)).softmax(-1).numpy()))
        return np.concatenate(found)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most likely label of each text."""
        return [self.labels[index] for index in self.probabilities(texts).argmax(axis=1)]

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Generator | None = None
    ) -> Classifier:
        """See `Model.from_dict`."""
        return cls._of(LabellerConfig(**config), assets, generator)

    @classmethod
    def from_spec(
        cls, spec: _core.ModelSpec, assets: Mapping[str, Any], *, dtype: str, generator: Generator | None
    ) -> Classifier:
        """See `Model.from_spec`."""
        return cls._of(config_of(spec, assets, dtype), assets, generator)

    @classmethod
    def _of(cls, config: LabellerConfig, assets: Mapping[str, Any], generator: Generator | None) -> Classifier:
        model = cls.__new__(cls)
        labels = assets.get("labels") or [str(index) for index in range(config.outputs)]
        Labeller.__init__(model, config, labels, vocabulary=vocabulary_of(assets), generator=generator)
        return model
