"""Tagger: a label for every word of a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnncore import Generator, Tensor, _core, nn
from rnncore.data.batches import IGNORE, Ids
from rnncore.data.vocabulary import Vocabulary
from rnncore.models.classifier import pad_ids
from rnncore.models.labeller import (
    Labeller,
    LabellerConfig,
    Stack,
    config_of,
    stack_json,
    vocabulary_of,
)
from rnncore.nn import functional as F


@dataclass(frozen=True)
class TaggerBatch:
    """Padded sentences: word `ids` (T, N), `lengths` (N,), `targets` (T, N), -100 where padded, where they are known.

    For a model that reads characters the batch's different words: `char_ids` (C, U), `char_lengths` (U,) and which of
    them stands where, `char_index` (T, N).
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    char_ids: NDArray[np.int64] | None = None
    char_lengths: NDArray[np.int64] | None = None
    char_index: NDArray[np.int64] | None = None
    targets: NDArray[np.int64] | None = None

    @property
    def items(self) -> int:
        """Words, what a mean loss is a mean over."""
        return int(self.lengths.sum())


class Characters(nn.Module):
    """A word as the last states of a recurrent network over its characters, in both directions."""

    def __init__(self, spec: Mapping[str, Any], *, dtype: str, generator: Generator) -> None:
        super().__init__()
        size = spec["vocab_size"], spec["embedding_size"]
        self.embedding = nn.Embedding(*size, dtype=dtype, generator=generator)
        self.rnn = Stack(spec["recurrent"], dtype=dtype, generator=generator)

    def forward(self, batch: TaggerBatch) -> Tensor:
        """(T, N, width): each different word is read once."""
        letters, lengths = Tensor(batch.char_ids), batch.char_lengths
        _, state = self.rnn(letters, lengths=lengths, embedding=self.embedding.weight)
        return F.embedding(batch.char_index, self.rnn.last(state))


class Tagger(Labeller):
    """P(labels | words): word embedding and characters, recurrent stack, linear, and a softmax a word or a CRF.

    Args:
        vocabulary: of words.
        labels: the O tags. Where there are "B-..." among them, `predict` gives BIO sequences alone.
        characters: vocabulary of characters; None: words are read as a whole.
        embedding_size: of a word; default 100.
        char_embedding_size: of a character; default 25.
        char_hidden_size: of each direction over the characters; default 50.
        hidden_size: H, of each direction; default 128.
        num_layers: default 1.
        cell: "lstm" (default), "gru", "rnn-tanh", ...
        dropout: probability, in training, on the stack's input, between layers and on its output; default 0.
        embedding_dropout: probability, in training, of a word's whole embedding; default 0.
        crf: learn which tags follow each other (`nn.CRF`); default False.
        lower: words are looked up in lower case (characters keep theirs); default False.
        embedding_scale: standard deviation of the embedding's start values; default 1.
        dtype: "float32" (default) or "float64".
        generator: source of the initial weights and of dropout; default: seed 0.

    Example:
        >>> model = Tagger(Vocabulary.build("the cat", level="word"), ["DET", "NOUN"], hidden_size=8)
        >>> len(model.predict([["the", "cat"], ["cat"]])[0])
        2
    """

    kind: ClassVar[str] = "tagger"

    def __init__(
        self,
        vocabulary: Vocabulary,
        labels: Sequence[str],
        *,
        characters: Vocabulary | None = None,
        embedding_size: int = 100,
        char_embedding_size: int = 25,
        char_hidden_size: int = 50,
        hidden_size: int = 128,
        num_layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        embedding_scale: float = 1.0,
        crf: bool = False,
        lower: bool = False,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        letters, width = None, embedding_size
        if characters is not None:
            stack = stack_json(char_embedding_size, cell, char_hidden_size, 1, bidirectional=True)
            letters = {"vocab_size": len(characters), "embedding_size": char_embedding_size, "recurrent": stack}
            width += 2 * char_hidden_size
        between = dropout if num_layers > 1 else 0.0
        config = LabellerConfig(
            outputs=len(labels), vocab_size=len(vocabulary), embedding_size=embedding_size,
            recurrent=stack_json(width, cell, hidden_size, num_layers, bidirectional=True, dropout=between),
            dropout=dropout, embedding_dropout=embedding_dropout, characters=letters, crf=crf,
            bio=any(label.startswith("B-") for label in labels), lower=lower, dtype=dtype,
        )  # fmt: skip
        self.character_vocabulary = characters
        super().__init__(config, labels, vocabulary=vocabulary, embedding_scale=embedding_scale, generator=generator)

    def _build_more(self) -> None:
        config = self.config
        if config.characters is not None:
            self.characters = Characters(config.characters, dtype=config.dtype, generator=self.generator)
        bio = self.labels if config.bio else None
        chain = nn.CRF(config.outputs, labels=bio, dtype=config.dtype)
        if config.crf:
            self.crf = chain
        self._decode = chain.decode  # without `crf` its weights stay 0: it only keeps invalid sequences out

    def embed(self, batch: TaggerBatch) -> Tensor:
        """Words and their characters (T, N, I), with dropout in training."""
        if self.config.characters is None:
            return super().embed(batch)
        table: Tensor = self.embedding.weight
        if self.training and self.config.embedding_dropout > 0:
            table = F.embedding_dropout(table, self.config.embedding_dropout, generator=self.generator)
        both = _core.cat([F.embedding(batch.ids, table), self.characters(batch)], 2)
        dropped: Tensor = self.drop(both)
        return dropped

    def forward(self, batch: TaggerBatch) -> Tensor:
        """Logits (T, N, O)."""
        output, _ = self.rnn(self.embed(batch), lengths=batch.lengths)
        logits: Tensor = self.head(self.drop(output))
        return logits

    def loss(self, batch: TaggerBatch) -> Tensor:
        """Mean negative log-likelihood of a word's tag in nats."""
        return self._loss(self(batch), batch)

    def _loss(self, logits: Tensor, batch: TaggerBatch) -> Tensor:
        targets = Tensor(batch.targets)
        if self.config.crf:
            return self.crf.loss(logits, targets, batch.lengths).sum() / batch.items
        return F.cross_entropy(logits.reshape(-1, self.config.outputs), targets.reshape(-1))

    def encode(self, sentence: Sequence[str]) -> Ids:
        """Word ids (n,)."""
        words = [word.lower() for word in sentence] if self.config.lower else sentence
        return self.require_vocabulary().ids_of(words)

    def batch_of(self, sentences: Sequence[Sequence[str]], tags: Sequence[Ids] | None = None) -> TaggerBatch:
        """Sentences as a batch; `tags`: the ids of the labels of each."""
        ids, lengths = pad_ids([self.encode(sentence) for sentence in sentences])
        targets = None if tags is None else pad_ids(tags, fill=IGNORE)[0]
        if self.character_vocabulary is None:
            return TaggerBatch(ids, lengths, targets=targets)
        places = {word: place for place, word in enumerate(dict.fromkeys(w for s in sentences for w in s))}
        index, _ = pad_ids([np.array([places[word] for word in s], dtype=np.int64) for s in sentences])
        letters, sizes = pad_ids([self.character_vocabulary.encode(word) for word in places or {"": 0}])
        return TaggerBatch(ids, lengths, letters, sizes, index, targets)

    def tags_of(self, batch: TaggerBatch) -> list[Ids]:
        """The best tag ids of each sentence; with a CRF the best sequence, of BIO labels always a valid one."""
        with self.evaluating():
            return self._best(self(batch), batch)

    def best_and_loss(self, batch: TaggerBatch) -> tuple[list[Ids], float]:
        """`tags_of`, and the mean loss of the batch's targets."""
        with self.evaluating():
            logits = self(batch)
            return self._best(logits, batch), self._loss(logits, batch).item()

    def _best(self, logits: Tensor, batch: TaggerBatch) -> list[Ids]:
        best = self._decode(logits, batch.lengths).numpy()
        return [best[:length, n] for n, length in enumerate(batch.lengths.tolist())]

    def predict(self, sentences: Sequence[Sequence[str]], *, batch: int = 64) -> list[list[str]]:
        """The label of every word."""
        parts = [sentences[at : at + batch] for at in range(0, len(sentences), batch)]
        found = [tags for part in parts for tags in self.tags_of(self.batch_of(part))]
        return [[self.labels[index] for index in tags.tolist()] for tags in found]

    def describe(self) -> dict[str, str]:
        """See `Model.describe`."""
        rows = super().describe()
        rows["cell"] += ", CRF" if self.config.crf else ""
        if self.character_vocabulary is not None:
            rows["characters"] = self.character_vocabulary.describe()
        return rows

    def assets(self) -> dict[str, Any]:
        """Vocabularies and labels."""
        letters = self.character_vocabulary
        more = {"lower": self.config.lower, "characters": None if letters is None else letters.to_json()}
        return {**super().assets(), **more}

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Generator | None = None
    ) -> Tagger:
        """See `Model.from_dict`."""
        return cls._of(LabellerConfig(**config), assets, generator)

    @classmethod
    def from_spec(
        cls, spec: _core.ModelSpec, assets: Mapping[str, Any], *, dtype: str, generator: Generator | None
    ) -> Tagger:
        """See `Model.from_spec`."""
        return cls._of(config_of(spec, assets, dtype), assets, generator)

    @classmethod
    def _of(cls, config: LabellerConfig, assets: Mapping[str, Any], generator: Generator | None) -> Tagger:
        model = cls.__new__(cls)
        model.character_vocabulary = vocabulary_of(assets, "characters")
        labels = assets.get("labels") or [str(index) for index in range(config.outputs)]
        Labeller.__init__(model, config, labels, vocabulary=vocabulary_of(assets), generator=generator)
        return model
