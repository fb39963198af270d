"""Translation as a task of the trainer: batches of pairs, loss and BLEU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from rnncore._messages import message
from rnncore.data import Pair, PairCorpus, PairSource, bucketed, padding, read_pairs
from rnncore.data.records import together
from rnncore.models.seq2seq import PairBatch, Seq2Seq
from rnncore.models.translating import Translation
from rnncore.text_metrics import bleu, draw_attention, require_bleu
from rnncore.train.batch_feed import BatchFeed
from rnncore.train.config import TrainConfig
from rnncore.train.searching import SEARCH_OPTIONS, Searching
from rnncore.train.task import Objective, Task

_POOL = 1000  # batches that are sorted together: of pairs of two lengths a pool must hold many
_SHOWN = 4  # validation texts whose attention stands in the log; a report draws as many
_READABLE = 40  # tokens that such a text may have, where there are enough of them


class PairBatches:
    """Padded pairs of about equal lengths on both sides, in an order that depends on (seed, epoch) alone."""

    def __init__(self, pairs: Sequence[Pair], model: Seq2Seq, config: TrainConfig, max_length: int) -> None:
        ids = [(model.source_ids(pair.source), model.target_ids(pair.target)) for pair in pairs]
        self.pairs = [both for both in ids if max(map(len, both)) <= max_length]
        if not self.pairs:
            raise ValueError(message("translation", "max_length", "a length that some pairs have", str(max_length)))
        self._model = model
        lengths = np.array([[len(source), len(target)] for source, target in self.pairs])
        # By target, then by source, up and down in turns: where a batch holds two target lengths its sources are alike.
        source, target, most = lengths[:, 0], lengths[:, 1], int(lengths.max()) + 1
        order = target * most + np.where(target % 2, source, most - 1 - source)
        self._order = lru_cache(maxsize=2)(
            lambda epoch: bucketed(order.tolist(), config.batch, seed=config.seed, epoch=epoch, pool=_POOL)
        )
        self.padding = max(padding(lengths[:, side].tolist(), self._order(0)) for side in (0, 1))

    def __len__(self) -> int:
        return len(self._order(0))

    def batch(self, epoch: int, index: int) -> PairBatch:
        """See `Batches`."""
        chosen = [self.pairs[n] for n in self._order(epoch)[index]]
        return self._model.batch_of([source for source, _ in chosen], [target for _, target in chosen])


class Seq2SeqTask(Task):
    """Writing a text's translation.

    Args:
        corpus: the pairs.
        source: the files that they came from.
        select: what the best model is chosen by on the validation part: "loss" (default) or "bleu", of greedy search.
        max_length: training pairs with a longer side, in tokens, are left out.
    """

    kind: ClassVar[str] = "seq2seq"
    items = "tokens"
    eval_options: ClassVar[tuple[str, ...]] = ("picture",)
    predict_options: ClassVar[tuple[str, ...]] = SEARCH_OPTIONS

    def __init__(
        self, corpus: PairCorpus, source: PairSource | None = None, *, select: str = "loss", max_length: int = 100
    ) -> None:
        if select not in ("loss", "bleu"):
            raise ValueError(message("translation", "select", "loss | bleu", repr(select)))
        self.corpus = corpus
        self.source = source
        self.max_length = max_length
        self.objective = Objective(select, maximise=select == "bleu")
        self._model: Seq2Seq | None = None
        self._shown: list[str] | None = None

    @property
    def fingerprint(self) -> str:
        """Of pairs and vocabularies."""
        return self.corpus.fingerprint

    def check_model(self, model: Any) -> None:
        """See `Task.check_model`."""
        super().check_model(model)
        for side in ("source", "target"):
            wanted, found = getattr(self.corpus, side).to_json(), getattr(model, side).to_json()
            if wanted != found:
                raise ValueError(message("train", "model", f"the corpus's {side} vocabulary", "another"))
        if self.corpus.test or (self.corpus.valid and self.objective.name == "bleu"):
            require_bleu()  # before hours of training, not after
        self._model = model

    def feed(self, config: TrainConfig) -> BatchFeed:
        """Shuffled batches of pairs of about equal lengths."""
        assert self._model is not None  # noqa: S101  # a trainer checks its model first
        return BatchFeed(PairBatches(self.corpus.train, self._model, config, self.max_length))

    def validate(self, model: Seq2Seq, config: TrainConfig) -> dict[str, float] | None:
        """Nats a token; with "bleu" also the BLEU of greedy search."""
        if not self.corpus.valid:
            return None
        return scores_of(model, self.corpus.valid, beams=1 if self.objective.name == "bleu" else 0)

    def look(self, model: Seq2Seq) -> list[tuple[str, dict[str, Any]]]:
        """Where attention looks as greedy search translates some short validation texts, always the same ones."""
        if self._shown is None:
            texts = [pair.source for pair in self.corpus.valid]
            self._shown = sorted(texts, key=lambda text: max(len(model.source_ids(text)), _READABLE))[:_SHOWN]
        return [
            ("attention", {"source": one.source_pieces, "target": one.target_pieces,
                           "weights": [[round(weight, 4) for weight in row] for row in one.weights.tolist()]})
            for one in model.translate(self._shown, beams=1)
        ]  # fmt: skip

    def test(self, model: Seq2Seq) -> str | None:
        """BLEU of beam search on the test part."""
        if not self.corpus.test:
            return None
        scores = scores_of(model, self.corpus.test)
        loss = f"loss {scores['loss']:.4f} nats a token"
        return f"BLEU {scores['bleu']:.2f} ({scores['signature']}), {loss}, {len(self.corpus.test):,} texts"

    def describe(self) -> str:
        """Sizes of data and vocabularies."""
        corpus = self.corpus
        sizes = f"{len(corpus.train):,} pairs to train on, {len(corpus.valid):,} to validate on"
        return f"{sizes}, {corpus.source.describe()}, to {corpus.target.describe()}"

    @classmethod
    def read(cls, source: Mapping[str, Any], model: Seq2Seq) -> Seq2SeqTask:
        """See `Task.read`."""
        files = cls.source_from_json(source)
        corpus = files.load(source=model.source, target=model.target)
        return cls(corpus, files, select=files.select, max_length=files.max_length)

    @classmethod
    def source_from_json(cls, value: Mapping[str, Any]) -> PairSource:
        """See `Task.source_from_json`."""
        return PairSource.from_json(value)

    @classmethod
    def evaluate(cls, model: Seq2Seq, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """BLEU of beam search and nats a token, by sacrebleu; `picture`: where attention looked in the first texts."""
        pairs = read_pairs(path).items
        if "picture" in options:
            made = model.translate([pair.source for pair in pairs[:3]])
            weights = [one.weights for one in made]
            pieces = [one.source_pieces for one in made], [one.target_pieces for one in made]
            draw_attention(weights, *pieces, options["picture"])
        return {**scores_of(model, pairs), "texts": len(pairs)}

    @classmethod
    def predict(cls, model: Seq2Seq, file: TextIO, name: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The translations of each line, a line each; of an empty line none."""
        searching, number = Searching(options), 0
        for lines in together(file, name):
            texts = [line.strip() for line in lines]
            for text, found in zip(texts, model.translations(texts, **searching.of(number)), strict=True):
                if text:
                    yield from ((one.text, record_of(text, one)) for one in found)
                else:
                    nothing = {"log_prob": 0.0, "score": 0.0, "pieces": [], "log_probs": []}
                    yield "", {"source": "", "text": "", **nothing}
            number += len(lines)


def record_of(source: str, found: Translation) -> dict[str, Any]:
    """A translation as JSON."""
    return {
        "source": source, "text": found.text, "log_prob": found.log_prob, "score": found.score,
        "pieces": found.target_pieces, "log_probs": list(found.log_probs),
    }  # fmt: skip


def scores_of(model: Seq2Seq, pairs: Sequence[Pair], *, beams: int | None = None, batch: int = 64) -> dict[str, Any]:
    """Nats a token; BLEU with so many beams (0: none; default: the model's) in lower case if the model writes so."""
    ids = [(model.source_ids(pair.source), model.target_ids(pair.target)) for pair in pairs]
    order = np.argsort([len(source) for source, _ in ids], kind="stable")
    total, tokens = 0.0, 0
    with model.evaluating():
        for at in range(0, len(order), batch):
            part = [ids[n] for n in order[at : at + batch]]
            made = model.batch_of([source for source, _ in part], [target for _, target in part])
            total += model.loss(made).item() * made.items
            tokens += made.items
    scores: dict[str, Any] = {"loss": total / tokens}
    if beams == 0:
        return scores
    found = model.translate([pair.source for pair in pairs], beams=beams, batch=batch)
    score = bleu([one.text for one in found], [pair.target for pair in pairs], lower=model.config.lower)
    return {"bleu": score.score, **scores} if beams == 1 else {
        "bleu": score.score, **scores, "signature": score.signature
    }  # fmt: skip
