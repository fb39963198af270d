"""``rnncore train seq2seq``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import typer

from rnncore.cli import options
from rnncore.cli.common import THREADS, set_threads
from rnncore.cli.train import start

if TYPE_CHECKING:
    from rnncore.data.records import OnError


def seq2seq(
    train: str = typer.Option(..., "--train", "--text", help="Parallel text, as above.", show_default=False),
    valid: str | None = typer.Option(None, "--valid", help="Validation data; default: the end of --train."),
    test: str | None = typer.Option(None, "--test", help="Test data, scored at the end."),
    on_error: options.OnError = "raise",
    valid_fraction: options.ValidFraction = 0.02,
    level: str = typer.Option("subword", "--level", metavar="NAME", help="subword, word or char."),
    vocabulary: int = typer.Option(8000, "--vocabulary", metavar="N", help="Largest size of each vocabulary."),
    lower: bool = typer.Option(False, "--lower", help="Read and write in lower case."),
    max_length: int = typer.Option(100, "--max-length", metavar="N", help="Leave out longer training pairs (tokens)."),
    cell: str = typer.Option("gru", "--cell", metavar="CELL", help="gru, lstm, rnn-tanh, ..."),
    hidden: int = typer.Option(384, "--hidden", metavar="N", help="Units of the decoder; of each encoder half of it."),
    layers: int = typer.Option(1, "--layers", metavar="N", help="Layers of encoder and decoder."),
    embedding: int = typer.Option(256, "--embedding", metavar="N", help="Size of a token's embedding."),
    attention: str = typer.Option("bilinear", "--attention", metavar="SCORE", help="dot, bilinear or additive."),
    input_feeding: bool = typer.Option(False, "--input-feeding", help="The last step's attention enters the next."),
    tie: bool = typer.Option(False, "--tie", help="The output layer is the target's embedding."),
    dropout: float = typer.Option(0.3, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    smoothing: float = typer.Option(0.1, "--label-smoothing", metavar="X", help="In [0, 1)."),
    beams: int = typer.Option(5, "--beams", metavar="N", help="Of the search, when translating."),
    alpha: float = typer.Option(1.0, "--alpha", metavar="X", help="Of its length penalty; 0: none."),
    select: str = typer.Option("loss", "--select", metavar="NAME", help="Best model by validation loss or bleu."),
    batch: int = typer.Option(64, "--batch", metavar="N", help="Pairs of an update."),
    epochs: options.EpochsOrSteps = None,
    steps: options.Steps = None,
    optimizer: options.Optimizer = "adam",
    lr: options.Rate = 1e-3,
    weight_decay: options.WeightDecay = 0.0,
    clip: options.Clip = 1.0,
    schedule: options.Schedule = "constant",
    warmup: options.WarmUp = 0,
    decay: options.Decay = 0.5,
    decay_after: options.DecayAfter = 0,
    patience: options.Patience = None,
    seed: options.Seed = 0,
    inspect: options.Inspect = None,
    inspect_norms: options.InspectNorms = None,
    threads: int | None = THREADS,
    checkpoint_steps: options.CheckpointSteps = None,
    tensorboard: options.TensorBoard = False,
    out: options.Out = None,
    force: options.Force = False,
) -> None:
    """Train an encoder-decoder with attention: a text to another text.

    Data: 'name.{de,en}' stands for two files of as many lines, the source first;
    any other name for one file, source and target separated by a tab in each line.
    Names may end in .gz. Subwords need the extra "subword", BLEU needs "uses".

    Example: rnncore train seq2seq --train 'train.{de,en}.gz' --valid 'val.{de,en}.gz' --lower --out runs/de-en
    """
    from rnncore import Generator
    from rnncore.data import PairSource
    from rnncore.models import Seq2Seq
    from rnncore.train import TrainConfig
    from rnncore.train.seq2seq import Seq2SeqTask

    config = TrainConfig(
        epochs=epochs, steps=steps, batch=batch, optimizer=optimizer, lr=lr, weight_decay=weight_decay,
        clip_norm=clip, schedule=schedule, warmup_steps=warmup, decay=decay, decay_after=decay_after,
        patience=patience, seed=seed, checkpoint_steps=checkpoint_steps,
        inspect_every=inspect, inspect_norms=inspect_norms,
    )  # fmt: skip
    set_threads(threads)
    source = PairSource(
        train=options.absolute(train), valid=options.absolute(valid), test=options.absolute(test),
        on_error=cast("OnError", on_error), valid_fraction=valid_fraction, level=level, size=vocabulary, lower=lower,
        max_length=max_length, select=select,
    )  # fmt: skip
    corpus = source.load()
    model = Seq2Seq(
        corpus.source, corpus.target, embedding_size=embedding, hidden_size=hidden, num_layers=layers, cell=cell,
        score=attention, input_feeding=input_feeding, tie_weights=tie, dropout=dropout, label_smoothing=smoothing,
        lower=lower, beams=beams, alpha=alpha, generator=Generator(seed),
    )  # fmt: skip
    options.say_skipped(corpus.skipped)
    task = Seq2SeqTask(corpus, source, select=select, max_length=max_length)
    start(model, task, config, out=out, name=options.name_of(train), force=force, tensorboard=tensorboard)
