"""Language models as a task of the trainer: a text in streams or sentences, validated by the chain rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TextIO

from rnncore import metrics
from rnncore._messages import message
from rnncore.data import TextCorpus, TextSource, decode_utf8, read_bytes
from rnncore.models.base import Model
from rnncore.models.language_model import LanguageModel
from rnncore.train.adaptive import adaptive_scorer
from rnncore.train.config import TrainConfig
from rnncore.train.feeds import SentenceFeed, StreamFeed, VaryingFeed
from rnncore.train.task import Feed, State, Task


class LanguageModelTask(Task):
    """Predicting the next token of a text.

    Args:
        corpus: the text; its validation part, where there is one, decides which model is best.
        source: the files that it came from.
    """

    kind: ClassVar[str] = "language_model"
    eval_options: ClassVar[tuple[str, ...]] = (
        "dynamic", "dynamic-lr", "dynamic-decay", "segment", "train-text", "cache", "cache-theta", "cache-weight",
    )  # fmt: skip

    def __init__(self, corpus: TextCorpus, source: TextSource | None = None) -> None:
        self.corpus = corpus
        self.source = source
        self.items = f"{corpus.vocabulary.level}s"

    @property
    def fingerprint(self) -> str:
        """Of vocabulary and ids."""
        return self.corpus.fingerprint

    def feed(self, config: TrainConfig) -> Feed:
        """The feed that `config.batching` names."""
        if config.optimizer == "nt-asgd" and len(self.corpus.valid) < 2:
            hint = "validations say when averaging begins"
            raise ValueError(message("train", "optimizer", "a validation text for nt-asgd", "none", hint))
        if config.batching == "sentences":
            return SentenceFeed(self.corpus, config)
        return VaryingFeed(self.corpus, config) if config.vary_bptt else StreamFeed(self.corpus, config)

    def validate(self, model: LanguageModel, config: TrainConfig) -> dict[str, float] | None:
        """Nats and perplexity of the validation text."""
        if len(self.corpus.valid) < 2:
            return None
        total, count = model.score(self.corpus.valid, batch=config.eval_batch)
        return {"loss": total / count, "perplexity": metrics.perplexity(total / count)}

    def test(self, model: LanguageModel) -> str | None:
        """Nats and perplexity of the test text."""
        if len(self.corpus.test) < 2:
            return None
        total, count = model.score(self.corpus.test)
        return f"{total / count:.4f} nats, perplexity {metrics.perplexity(total / count):.3f}, {count:,} tokens"

    def describe(self) -> str:
        """Sizes of text and vocabulary."""
        corpus = self.corpus
        sizes = f"{len(corpus.train):,} {self.items} to train on, {len(corpus.valid):,} to validate on"
        return f"{sizes}, vocabulary {len(corpus.vocabulary):,}"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: LanguageModel) -> LanguageModelTask:
        """See `Task.read`."""
        files = cls.source_from_json(source)
        return cls(files.load(model.require_vocabulary()), files)

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> TextSource:
        """See `Task.source_from_json`."""
        return TextSource.from_json(value)

    @classmethod
    def evaluate(cls, model: LanguageModel, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Nats and perplexity of a token and of a word, bits of a character (byte), tokens and how many are unknown.

        `options`: of dynamic evaluation and of the cache, see `adaptation`.
        """
        vocabulary = model.require_vocabulary()
        data = read_bytes(path)
        content = data if vocabulary.level == "byte" else decode_utf8(data, str(path))
        scorer = adaptive_scorer(model, options)
        score = metrics.evaluate(model, content, scorer=scorer)
        unit = "byte" if vocabulary.level == "byte" else "character"
        values = {
            "nats": score.nats,
            "perplexity": score.perplexity,
            f"bits_per_{unit}": score.bits_per_character,
            "bits_per_word": score.bits_per_word,
            "word_perplexity": score.word_perplexity,
            "tokens": score.tokens,
        }
        if vocabulary.unknown_id is not None:
            values["unknown_tokens"] = int((vocabulary.encode(content) == vocabulary.unknown_id).sum())
        return values

    @classmethod
    def predict(
        cls, model: LanguageModel, file: TextIO, name: str, options: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """Refused: a language model writes."""
        hint = "a language model writes: rnncore sample RUN --prompt TEXT; or scores: rnncore eval RUN --text FILE"
        raise ValueError(message("predict", "RUN", "a classifier, a tagger or the like", "a language model", hint))

    def check_model(self, model: Model) -> None:
        """See `Task.check_model`."""
        super().check_model(model)
        assert isinstance(model, LanguageModel)  # noqa: S101  # its kind says so
        if model.config.vocab_size != len(self.corpus.vocabulary):
            expected = f"vocab_size {len(self.corpus.vocabulary)}"
            raise ValueError(message("train", "model", expected, str(model.config.vocab_size)))

    def check_state(self, model: LanguageModel, state: State, config: TrainConfig) -> None:
        """See `Task.check_state`."""
        model.check_state(state, config.batch)

    def is_sane(self, loss: float) -> bool:
        """A loss whose perplexity overflows has run away."""
        return math.isfinite(metrics.perplexity(loss))  # not of a NaN either

    def derived(self, loss: float) -> dict[str, float]:
        """The perplexity."""
        return {"perplexity": metrics.perplexity(loss)}

    def short(self, loss: float) -> str:
        """Loss and perplexity."""
        return f"loss {loss:.3f} ppl {math.exp(min(loss, 700.0)):.4g}"
