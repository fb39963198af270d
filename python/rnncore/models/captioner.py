"""Captioner: a vector of features to a text (one to many)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnncore import Generator, Tensor, _core, nn
from rnncore._messages import message
from rnncore.beam import Rows
from rnncore.data.batches import IGNORE
from rnncore.data.subwords import TextVocabulary, vocabulary_from_json
from rnncore.models.base import Model
from rnncore.models.classifier import pad_ids
from rnncore.models.labeller import Stack, stack_json
from rnncore.models.writing import Writing
from rnncore.nn import functional as F


@dataclass(frozen=True)
class CaptionerConfig:
    """The sizes and options of a `Captioner`; see there."""

    input_size: int
    vocab_size: int
    embedding_size: int = 64
    hidden_size: int = 128
    num_layers: int = 1
    cell: str = "lstm"
    dropout: float = 0.0
    beams: int = 3
    alpha: float = 0.0
    max_length: int = 100
    dtype: str = "float32"


@dataclass(frozen=True)
class CaptionBatch:
    """Features (N, I) and captions: `inputs` (T, N) and `targets` (T, N), -100 where padded."""

    features: NDArray[Any]
    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]

    @property
    def items(self) -> int:
        """Tokens, what a mean loss is a mean over."""
        return int(np.count_nonzero(self.targets != IGNORE))


@dataclass(frozen=True)
class Caption:
    """A text about features; `log_prob`, `score`, `finished` and `log_probs` as in `beam.Hypothesis`."""

    text: str
    log_prob: float
    score: float
    finished: bool
    log_probs: tuple[float, ...]


class Captioner(Model):
    """P(text | features): the features are the network's first input, START and the text the others, END the last word.

    As Vinyals et al. 2015 ("Show and tell") do it: a linear layer makes the features as wide as an embedding. START and
    END are one token, the vocabulary's end of line.

    Args:
        vocabulary: of the captions, with an end of line.
        input_size: I, the number of features.
        embedding_size: default 64.
        hidden_size: default 128.
        num_layers: default 1.
        cell: "lstm" (default), "gru", ...
        dropout: probability, in training, on inputs, between layers and on outputs; default 0.
        beams, alpha: of `caption`; see `beam.beam_search`; default 3 and 0.
        max_length: tokens of a caption, END among them, at most; default 100.
        dtype: "float32" (default) or "float64".
        generator: source of the initial weights and of dropout; default: seed 0.

    Parameters: ``project.*`` (E, I), ``embedding.weight`` (V, E), ``rnn.*``, ``head.*`` (V, H).
    """

    kind: ClassVar[str] = "captioner"

    def __init__(
        self, vocabulary: TextVocabulary, input_size: int, *, generator: Generator | None = None, **options: Any
    ) -> None:
        super().__init__()
        if vocabulary.end_id is None:
            raise ValueError(message("captioner", "vocabulary", "one with an end of line", "none"))
        self.config = config = CaptionerConfig(input_size, len(vocabulary), **options)
        self.vocabulary, self.end = vocabulary, vocabulary.end_id
        self.generator = generator = Generator(0) if generator is None else generator
        common: dict[str, Any] = {"dtype": config.dtype, "generator": generator}
        between = config.dropout if config.num_layers > 1 else 0.0
        stack = stack_json(config.embedding_size, config.cell, config.hidden_size, config.num_layers, dropout=between)
        self.project = nn.Linear(input_size, config.embedding_size, **common)
        self.embedding = nn.Embedding(len(vocabulary), config.embedding_size, **common)
        self.rnn = Stack(stack, **common)
        self.head = nn.Linear(config.hidden_size, len(vocabulary), **common)
        self.drop = nn.Dropout(config.dropout, generator=generator)

    def first(self, features: ArrayLike) -> Tensor:
        """The first input (1, N, E), made of features (N, I)."""
        x = np.asarray(features, dtype=self.config.dtype)
        if x.ndim != 2 or x.shape[1] != self.config.input_size:
            raise ValueError(message("captioner", "features", f"shape (N, {self.config.input_size})", str(x.shape)))
        projected: Tensor = self.project(Tensor(x))
        return projected.reshape(1, len(x), -1)

    def outputs(self, batch: CaptionBatch) -> Tensor:
        """The stack's outputs (T, N, H), of the tokens alone."""
        inputs = _core.cat([self.first(batch.features), self.embedding(batch.inputs)], 0)
        output, _ = self.rnn(self.drop(inputs))
        dropped: Tensor = self.drop(output[1:])
        return dropped

    def forward(self, batch: CaptionBatch) -> Tensor:
        """Logits (T, N, V) of the next token."""
        logits: Tensor = self.head(self.outputs(batch))
        return logits

    def loss(self, batch: CaptionBatch) -> Tensor:
        """Mean cross-entropy of a token in nats."""
        rows = self.outputs(batch).reshape(-1, self.config.hidden_size)
        return F.linear_cross_entropy(rows, self.head.weight, self.head.bias, batch.targets.reshape(-1))

    def batch_of(self, features: ArrayLike, captions: Sequence[str]) -> CaptionBatch:
        """Features (N, I) with their captions."""
        rows = [[*self.vocabulary.encode(text, end_line=False).tolist(), self.end] for text in captions]
        targets, _ = pad_ids([np.array(row, dtype=np.int64) for row in rows], fill=IGNORE)
        inputs = np.full_like(targets, self.end)
        inputs[1:] = np.where(targets[:-1] == IGNORE, self.end, targets[:-1])
        return CaptionBatch(np.asarray(features, dtype=self.config.dtype), inputs, targets)

    def caption(self, features: ArrayLike, **how: Any) -> list[str]:
        """The likeliest text for each row of features (N, I); 1 beam: greedy search."""
        return [one.text for one in self.generate(features, **how)]

    def generate(self, features: ArrayLike, **how: Any) -> list[Caption]:
        """The same, with log-probabilities; arguments as `captions`."""
        return [found[0] for found in self.captions(features, **how)]

    def captions(self, features: ArrayLike, **how: Any) -> list[list[Caption]]:
        """Texts for each row of features (N, I), the best first, or as drawn; the features are read once for all.

        Args:
            features: (N, I).
            how: beams, alpha, sampling, top, prefix, stop: see `Writing`. What is drawn for row i depends on (seed, i)
                and not on the other rows.
        """
        config, writing = self.config, Writing(**how)
        with self.evaluating():
            first = self.first(features)
            _, state = self.rnn(first)

            def step(tokens: Rows, rows: Rows) -> NDArray[Any]:
                nonlocal state
                before = {name: F.embedding(rows, value) for name, value in state.items()}
                output, state = self.rnn(self.embedding(tokens[None]), before)
                log_probs: NDArray[Any] = self.head(output[0]).log_softmax(-1).numpy()
                return log_probs

            found = writing.find(
                step, self.vocabulary, first.shape[1], usual=(config.beams, config.alpha), max_length=config.max_length
            )
        return [
            [
                Caption(writing.text_of(self.vocabulary, one), one.log_prob, one.score, one.finished, one.log_probs)
                for one in each
            ]
            for each in found
        ]

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON."""
        return asdict(self.config)

    def assets(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"caption_vocabulary": self.vocabulary.to_json()}

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Generator | None = None
    ) -> Captioner:
        """See `Model.from_dict`."""
        vocabulary = vocabulary_from_json(assets["caption_vocabulary"])
        options = {name: value for name, value in config.items() if name != "vocab_size"}
        return cls(vocabulary, generator=generator, **options)

    def describe(self) -> dict[str, str]:
        """See `Model.describe`."""
        config = self.config
        sizes = f"{config.num_layers} x {config.hidden_size}, dropout {config.dropout:g}"
        return {
            "network": f"{config.cell}, {sizes}, {config.input_size} features in",
            "captions": self.vocabulary.describe(),
            "search": f"{config.beams} beams, length penalty {config.alpha:g}",
        }
