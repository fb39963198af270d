"""``rnncore train tag``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from rnncore.cli import options
from rnncore.cli.common import THREADS, set_threads
from rnncore.cli.train import start

if TYPE_CHECKING:
    from rnncore.data.records import OnError


def tag(
    train: str = typer.Option(..., "--train", "--text", help="Tagged sentences.", show_default=False),
    valid: str | None = typer.Option(None, "--valid", help="Validation data; default: a part of --train."),
    test: str | None = typer.Option(None, "--test", help="Test data, scored at the end."),
    format: options.Format = None,
    on_error: options.OnError = "raise",
    min_count: int = typer.Option(2, "--min-count", metavar="N", help="Rarer words become <unk>."),
    lower: bool = typer.Option(False, "--lower", help="Look words up in lower case."),
    valid_fraction: options.ValidFraction = 0.1,
    test_fraction: options.TestFraction = 0.0,
    vectors: Path | None = typer.Option(None, "--vectors", help="Word vectors (word2vec or GloVe text) to start from."),
    no_characters: bool = typer.Option(False, "--no-characters", help="Read words as a whole."),
    crf: bool = typer.Option(False, "--crf", help="Learn which tags follow each other."),
    cell: str = typer.Option("lstm", "--cell", metavar="CELL", help="lstm, gru, rnn-tanh, rnn-relu, ..."),
    hidden: int = typer.Option(128, "--hidden", metavar="N", help="Units of a layer and direction."),
    layers: int = typer.Option(1, "--layers", metavar="N", help="Layers."),
    embedding: int = typer.Option(100, "--embedding", metavar="N", help="Size of a word's embedding."),
    char_embedding: int = typer.Option(25, "--char-embedding", metavar="N", help="Size of a character's embedding."),
    char_hidden: int = typer.Option(50, "--char-hidden", metavar="N", help="Units over characters, each direction."),
    dropout: float = typer.Option(0.0, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    embedding_dropout: options.EmbeddingDropout = 0.0,
    embedding_scale: options.EmbeddingScale = 1.0,
    batch: int = typer.Option(32, "--batch", metavar="N", help="Sentences of an update."),
    epochs: options.EpochsOrSteps = None,
    steps: options.Steps = None,
    optimizer: options.Optimizer = "adam",
    lr: options.Rate = 2e-3,
    weight_decay: options.WeightDecay = 0.0,
    clip: options.Clip = 5.0,
    schedule: options.Schedule = "constant",
    warmup: options.WarmUp = 0,
    patience: options.Patience = None,
    seed: options.Seed = 0,
    threads: int | None = THREADS,
    checkpoint_steps: options.CheckpointSteps = None,
    inspect: options.Inspect = None,
    inspect_norms: options.InspectNorms = None,
    tensorboard: options.TensorBoard = False,
    out: options.Out = None,
    force: options.Force = False,
) -> None:
    """Train a tagger: a label for every word of a sentence (parts of speech, named entities).

    Entities (BIO tags) are scored by seqeval, of the extra "uses".

    Formats: conllu-upos, conllu-xpos (ten columns), conll (token and tag a line, a blank line between sentences).

    Example: rnncore train tag --train en-train.conllu.gz --valid en-dev.conllu.gz --out runs/pos

    Example: rnncore train tag --train wnut17.train.conll --valid wnut17.dev.conll --crf --out runs/ner
    """
    from rnncore import Generator
    from rnncore.data import TagSource, load_vectors
    from rnncore.models import Tagger
    from rnncore.train import TrainConfig
    from rnncore.train.tag import TagTask

    config = TrainConfig(
        epochs=epochs, steps=steps, batch=batch, optimizer=optimizer, lr=lr, weight_decay=weight_decay,
        clip_norm=clip, schedule=schedule, warmup_steps=warmup, patience=patience, seed=seed,
        checkpoint_steps=checkpoint_steps, inspect_every=inspect, inspect_norms=inspect_norms,
    )  # fmt: skip
    set_threads(threads)
    source = TagSource(
        train=options.absolute(train), valid=options.absolute(valid), test=options.absolute(test), format=format,
        on_error=cast("OnError", on_error), valid_fraction=valid_fraction, test_fraction=test_fraction, seed=seed,
        min_count=min_count, lower=lower,
    )  # fmt: skip
    corpus = source.load()
    model = Tagger(
        corpus.vocabulary, corpus.labels, characters=None if no_characters else corpus.characters,
        embedding_size=embedding, char_embedding_size=char_embedding, char_hidden_size=char_hidden,
        hidden_size=hidden, num_layers=layers, cell=cell, dropout=dropout, embedding_dropout=embedding_dropout,
        embedding_scale=embedding_scale,
        crf=crf, lower=lower, generator=Generator(seed),
    )  # fmt: skip
    skipped = corpus.skipped
    if vectors is not None:
        ready = load_vectors(vectors, corpus.vocabulary, embedding, on_error=cast("OnError", on_error))
        model.use_vectors(ready)
        skipped += ready.skipped
    options.say_skipped(skipped)
    start(
        model, TagTask(corpus, source), config, out=out, name=options.name_of(train), force=force,
        tensorboard=tensorboard,
    )  # fmt: skip
