"""What classifiers and taggers share: words or letters (or features) through a recurrent stack into a linear layer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rnncore import Generator, Tensor, _core, nn
from rnncore._messages import message
from rnncore.data.vectors import Vectors
from rnncore.data.vocabulary import Vocabulary
from rnncore.models.base import Model
from rnncore.nn import functional as F
from rnncore.nn.stack import recurrent_spec


@dataclass(frozen=True)
class LabellerConfig:
    """The sizes and options of a `Labeller`; `recurrent` and `characters`: stacks as in a model file."""

    outputs: int
    vocab_size: int
    embedding_size: int
    recurrent: dict[str, Any]
    pooling: str = "none"
    dropout: float = 0.0
    embedding_dropout: float = 0.0
    characters: dict[str, Any] | None = None
    crf: bool = False
    bio: bool = False
    lower: bool = False
    dtype: str = "float32"

    def spec(self, kind: str) -> _core.ModelSpec:
        """The engine's description; it checks everything."""
        letters = self.characters
        return _core.ModelSpec(
            kind=kind,
            vocab_size=self.vocab_size,
            embedding_size=self.embedding_size,
            recurrent=_core.recurrent_spec(json.dumps(self.recurrent)),
            pooling=self.pooling,
            output_size=self.outputs,
            dropout=self.dropout,
            characters=None if letters is None else (letters["vocab_size"], letters["embedding_size"],
                                                     _core.recurrent_spec(json.dumps(letters["recurrent"]))),
            crf=self.crf,
            bio=self.bio,
        )  # fmt: skip


def stack_json(input_size: int, cell: str, hidden_size: int, num_layers: int, **options: Any) -> dict[str, Any]:
    """A stack of layers of one cell and size, as in a model file."""
    spec = recurrent_spec(input_size, [nn.Layer(cell, hidden_size)] * num_layers, **options)
    result: dict[str, Any] = json.loads(_core.recurrent_spec_json(spec))
    return result


class Stack(nn.Recurrent):
    """`nn.Recurrent` made of a specification."""

    def __init__(self, spec: Mapping[str, Any], *, dtype: str, generator: Generator) -> None:
        nn.Module.__init__(self)
        self.build(_core.recurrent_spec(json.dumps(spec)), dtype=dtype, generator=generator)

    def last(self, state: Mapping[str, Tensor]) -> Tensor:
        """The top layer's state after the last step, of both directions (N, width)."""
        name = f"h_l{len(self.spec.hidden_sizes) - 1}"
        return _core.cat([state[name], state[f"{name}_reverse"]], 1) if self.spec.bidirectional else state[name]


class Labeller(Model):
    """Embedding, recurrent stack, linear head over labels; a base class.

    Parameters: ``embedding.weight`` (V, E), ``rnn.*``, ``head.weight`` (O, H), ``head.bias`` (O).
    """

    def __init__(
        self,
        config: LabellerConfig,
        labels: Sequence[str],
        *,
        vocabulary: Vocabulary | None = None,
        embedding_scale: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if len(labels) != config.outputs:
            raise ValueError(message(self.kind, "labels", f"{config.outputs} names", str(len(labels))))
        if vocabulary is not None and len(vocabulary) != config.vocab_size:
            raise ValueError(message(self.kind, "vocabulary", f"{config.vocab_size} tokens", str(len(vocabulary))))
        if not 0 <= config.embedding_dropout < 1:
            raise ValueError(message(self.kind, "embedding_dropout", "in [0, 1)", str(config.embedding_dropout)))
        self.config = config
        self.labels = list(labels)
        self.vocabulary = vocabulary
        self.generator = generator = Generator(0) if generator is None else generator
        dtype = config.dtype
        spec = self.spec()
        if config.vocab_size:
            self.embedding = nn.Embedding(config.vocab_size, config.embedding_size, dtype=dtype, generator=generator)
            nn.init.scale_(self.embedding.weight, embedding_scale)
        self._build_more()
        self.rnn = Stack(config.recurrent, dtype=dtype, generator=generator)
        self.head = nn.Linear(spec.recurrent.output_size, config.outputs, dtype=dtype, generator=generator)
        self.drop = nn.Dropout(config.dropout, generator=generator)

    def _build_more(self) -> None:
        """Modules that stand between embedding and stack."""

    def embed(self, batch: Any) -> Tensor:
        """What the stack reads (T, N, I): looked-up tokens or the features as they are, with dropout in training."""
        if not self.config.vocab_size:
            features: Tensor = self.drop(Tensor(batch.x))
            return features
        table: Tensor = self.embedding.weight
        if self.training and self.config.embedding_dropout > 0:
            table = F.embedding_dropout(table, self.config.embedding_dropout, generator=self.generator)
        dropped: Tensor = self.drop(F.embedding(batch.ids, table))
        return dropped

    def index_of(self, label: str) -> int:
        """Where a label stands.

        Raises:
            ValueError: the model does not know it.
        """
        try:
            return self.labels.index(label)
        except ValueError:
            known = ", ".join(self.labels[:20])
            raise ValueError(message(self.kind, "label", f"one of {known}", repr(label))) from None

    def require_vocabulary(self) -> Vocabulary:
        """The vocabulary.

        Raises:
            ValueError: the model has none.
        """
        if self.vocabulary is None:
            raise ValueError(message(self.kind, "vocabulary", "one, to read text", "none"))
        return self.vocabulary

    def use_vectors(self, vectors: Vectors) -> None:
        """Start the embedding from ready-made vectors, where there are any; see `data.load_vectors`."""
        values = self.embedding.weight.detach()
        values.copy_(np.where(vectors.found[:, None], vectors.rows, values.numpy()).astype(values.numpy().dtype))

    def describe(self) -> dict[str, str]:
        """See `Model.describe`."""
        config, stack = self.config, self.rnn.spec
        both = " in both directions" if stack.bidirectional else ""
        sizes = " + ".join(map(str, stack.hidden_sizes))
        shown = ", ".join(self.labels[:8]) + (", ..." if len(self.labels) > 8 else "")
        rows = {"cell": f"{stack.cell}, {sizes}{both}, pooling {config.pooling}, dropout {config.dropout:g}"}
        if config.vocab_size:
            rows["embedding"] = f"{config.vocab_size} x {config.embedding_size}"
        rows["labels"] = f"{len(self.labels)}: {shown}"
        return rows if self.vocabulary is None else {**rows, "vocabulary": self.vocabulary.describe()}

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON."""
        return asdict(self.config)

    def assets(self) -> dict[str, Any]:
        """Vocabulary and labels."""
        return {
            "vocabulary": None if self.vocabulary is None else self.vocabulary.to_json(),
            "labels": self.labels,
        }

    def spec(self) -> _core.ModelSpec:
        """The engine's description of the model."""
        return self.config.spec(self.kind)


def config_of(spec: _core.ModelSpec, assets: Mapping[str, Any], dtype: str) -> LabellerConfig:
    """The configuration that a model file's specification stands for."""
    letters = spec.characters
    return LabellerConfig(
        outputs=spec.output_size,
        vocab_size=spec.vocab_size,
        embedding_size=spec.embedding_size,
        recurrent=json.loads(_core.recurrent_spec_json(spec.recurrent)),
        pooling=spec.pooling,
        dropout=spec.dropout,
        characters=None if letters is None else {
            "vocab_size": letters[0], "embedding_size": letters[1],
            "recurrent": json.loads(_core.recurrent_spec_json(letters[2])),
        },
        crf=spec.crf,
        bio=spec.bio,
        lower=bool(assets.get("lower", False)),
        dtype=dtype,
    )  # fmt: skip


def vocabulary_of(assets: Mapping[str, Any], name: str = "vocabulary") -> Vocabulary | None:
    """A vocabulary among a model's assets."""
    value = assets.get(name)
    return None if value is None else Vocabulary.from_json(value)
