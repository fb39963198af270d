"""``rnncore train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from rnncore.cli.common import THREADS, draw, free_folder, set_threads

if TYPE_CHECKING:
    from rnncore.data.vocabulary import Level
    from rnncore.train import Trainer, TrainResult

train_app = typer.Typer(invoke_without_command=True, no_args_is_help=True)


@train_app.callback()
def train(
    context: typer.Context,
    resume: Path | None = typer.Option(None, "--resume", metavar="RUN", help="Go on with a stopped run."),
    epochs: int | None = typer.Option(None, "--epochs", metavar="N", help="With --resume: a new limit."),
    steps: int | None = typer.Option(None, "--steps", metavar="N", help="With --resume: a new limit."),
    threads: int | None = THREADS,
) -> None:
    """Train a model, or go on with a stopped run.

    Example: rnncore train lm --text book.txt --out runs/book

    Example: rnncore train --resume runs/book
    """
    if context.invoked_subcommand is not None:
        if resume is not None:
            raise typer.BadParameter("stands alone: rnncore train --resume RUN", param_hint="--resume")
        return
    if resume is None:
        raise typer.BadParameter("give 'lm' or --resume RUN; see: rnncore train --help")
    from rnncore.train import Trainer

    set_threads(threads)
    trainer = Trainer.resume(resume, epochs=epochs, steps=steps)
    if trainer.progress.finished:
        hint = "train longer with --epochs or --steps"
        typer.echo(f"{resume} has finished ({trainer.progress.finished}); {hint}")
        return
    typer.echo(f"resuming {resume} at update {trainer.progress.step:,} of {trainer.total_steps:,}")
    finish(trainer)


@train_app.command("lm")
def language_model(
    text: Path = typer.Option(..., "--text", "--train", help="The training text (UTF-8).", show_default=False),
    valid: Path | None = typer.Option(None, "--valid", help="Validation text; default: the end of --text."),
    test: Path | None = typer.Option(None, "--test", help="Test text, scored at the end."),
    level: str = typer.Option("char", "--level", metavar="LEVEL", help="What a token is: char, byte or word."),
    valid_fraction: float = typer.Option(
        0.1, "--valid-fraction", metavar="X", help="Share of --text, where no file is given."
    ),
    vocab_size: int | None = typer.Option(
        None, "--vocab-size", metavar="N", help="Keep so many tokens; others become <unk>."
    ),
    min_count: int = typer.Option(1, "--min-count", metavar="N", help="Rarer tokens become <unk>."),
    cell: str = typer.Option(
        "lstm", "--cell", metavar="CELL", help="lstm, gru, gru-reset-before, rnn-tanh, rnn-relu or rnn-sigmoid."
    ),
    hidden: int = typer.Option(512, "--hidden", metavar="N", help="Units of a layer."),
    layers: int = typer.Option(3, "--layers", metavar="N", help="Layers."),
    embedding: int | None = typer.Option(None, "--embedding", metavar="N", help="Embedding size; default: --hidden."),
    tie_weights: bool = typer.Option(False, "--tie-weights", help="Use the embedding as the output layer too."),
    dropout: float = typer.Option(0.0, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    variational: bool = typer.Option(False, "--variational", help="One dropout mask for all steps of a chunk."),
    weight_drop: float = typer.Option(0.0, "--weight-drop", metavar="X", help="Dropout on the recurrent weights."),
    embedding_dropout: float = typer.Option(
        0.0, "--embedding-dropout", metavar="X", help="Probability of dropping a token's whole embedding."
    ),
    activation_penalty: float = typer.Option(
        0.0, "--activation-penalty", metavar="X", help="Weight of the mean squared output (AR)."
    ),
    temporal_penalty: float = typer.Option(
        0.0, "--temporal-penalty", metavar="X", help="Weight of the output's mean squared change (TAR)."
    ),
    connection: str = typer.Option(
        "none", "--connection", metavar="NAME", help="Between layers: none, residual, highway or dense."
    ),
    learn_initial_state: bool = typer.Option(
        False, "--learn-initial-state", help="Learn the state a text begins with."
    ),
    init: str = typer.Option("uniform", "--init", metavar="NAME", help="uniform, xavier, he, orthogonal or identity."),
    forget_bias: float | None = typer.Option(None, "--forget-bias", metavar="X", help="LSTM: start value."),
    bptt: int = typer.Option(50, "--bptt", metavar="N", help="New steps of an update (k1)."),
    bptt_back: int | None = typer.Option(
        None, "--bptt-back", metavar="N", help="Steps that the gradient goes back (k2)."
    ),
    batch: int = typer.Option(50, "--batch", metavar="N", help="Parallel streams (or sentences)."),
    sentences: bool = typer.Option(False, "--sentences", help="Shuffled padded lines instead of streams."),
    epochs: int | None = typer.Option(None, "--epochs", metavar="N", help="Passes over the text; default: 10."),
    steps: int | None = typer.Option(None, "--steps", metavar="N", help="Stop after so many updates."),
    optimizer: str = typer.Option("adam", "--optimizer", metavar="NAME", help="adam, adamw, sgd, rmsprop or asgd."),
    lr: float = typer.Option(2e-3, "--lr", metavar="X", help="Learning rate."),
    momentum: float = typer.Option(0.0, "--momentum", metavar="X", help="Of sgd and rmsprop."),
    weight_decay: float = typer.Option(0.0, "--weight-decay", metavar="X", help="Weight decay."),
    clip: float = typer.Option(5.0, "--clip", metavar="X", help="Largest global gradient norm; 0: off."),
    clip_value: float = typer.Option(0.0, "--clip-value", metavar="X", help="Largest gradient element; 0: off."),
    schedule: str = typer.Option(
        "constant", "--schedule", metavar="NAME", help="constant, step, exponential, cosine or plateau."
    ),
    warmup: int = typer.Option(0, "--warmup", metavar="N", help="Updates of linear warm-up."),
    decay: float = typer.Option(0.5, "--decay", metavar="X", help="Factor of step, exponential and plateau."),
    decay_after: int = typer.Option(0, "--decay-after", metavar="N", help="Epochs at the full rate."),
    patience: int | None = typer.Option(
        None, "--patience", metavar="N", help="Stop after so many epochs without gain."
    ),
    seed: int = typer.Option(0, "--seed", metavar="N", help="Of all random numbers."),
    threads: int | None = THREADS,
    checkpoint_steps: int | None = typer.Option(None, "--checkpoint-steps", metavar="N", help="Updates between saves."),
    tensorboard: bool = typer.Option(False, "--tensorboard", help="Also write TensorBoard files to RUN."),
    out: Path | None = typer.Option(None, "--out", metavar="RUN", help="The run folder; default: runs/<text's name>."),
    force: bool = typer.Option(False, "--force", help="Take the place of a run in --out."),
) -> None:
    """Train a language model on a text.

    Example: rnncore train lm --text book.txt --cell lstm --hidden 512 --layers 3 --epochs 10 --out runs/book
    """
    from rnncore import Generator
    from rnncore.data import TextSource
    from rnncore.models import LanguageModel
    from rnncore.train import RunFolder, TensorBoard, TrainConfig, Trainer

    config = TrainConfig(
        epochs=epochs, steps=steps, batching="sentences" if sentences else "streams", batch=batch, bptt=bptt,
        bptt_back=bptt_back, optimizer=optimizer, lr=lr, momentum=momentum, weight_decay=weight_decay,
        clip_norm=clip, clip_value=clip_value, schedule=schedule, warmup_steps=warmup, decay=decay,
        decay_after=decay_after, patience=patience, seed=seed, checkpoint_steps=checkpoint_steps,
    )  # fmt: skip
    set_threads(threads)
    source = TextSource(
        train=str(text.absolute()),
        valid=None if valid is None else str(valid.absolute()),
        test=None if test is None else str(test.absolute()),
        level=cast("Level", level),
        valid_fraction=valid_fraction,
        max_size=vocab_size,
        min_count=min_count,
    )
    corpus = source.load()
    model = LanguageModel(
        vocabulary=corpus.vocabulary, embedding_size=embedding, hidden_size=hidden, num_layers=layers, cell=cell,
        dropout=dropout, tie_weights=tie_weights, variational=variational, weight_drop=weight_drop,
        embedding_dropout=embedding_dropout, activation_penalty=activation_penalty, temporal_penalty=temporal_penalty,
        connection=connection, learn_initial_state=learn_initial_state, init=init, forget_bias=forget_bias,
        generator=Generator(seed),
    )  # fmt: skip
    trainer = Trainer(model, corpus, config, source=source)
    folder = free_folder(Path("runs") / text.stem) if out is None else out
    trainer.run_in(RunFolder.create(folder, force=force))
    if tensorboard:
        trainer.callbacks.append(TensorBoard(folder / "tensorboard"))
    describe(trainer)
    finish(trainer)


def describe(trainer: Trainer) -> None:
    """Two lines: the data and the model."""
    corpus, model = trainer.corpus, trainer.model
    level = corpus.vocabulary.level
    sizes = f"{len(corpus.train):,} {level}s to train on, {len(corpus.valid):,} to validate on"
    typer.echo(f"{sizes}, vocabulary {len(corpus.vocabulary):,}")
    config = model.config
    typer.echo(f"{config.cell}, {config.num_layers} x {config.hidden_size}, {model.parameter_count():,} parameters")


def finish(trainer: Trainer) -> TrainResult:
    """Train with a progress bar, draw the picture, say how it ended.

    Raises:
        typer.Exit: with code 130 after Ctrl-C.
    """
    from rich.console import Console

    from rnncore.cli.progress import TrainingProgress
    from rnncore.train.saving import describe_run

    unit = f"{trainer.corpus.vocabulary.level}s"
    trainer.callbacks.insert(0, TrainingProgress(Console(), unit))
    run = trainer.require_run()
    run.write_config(describe_run(trainer))
    result = trainer.fit()
    if result.interrupted:
        typer.echo(f"saved at update {result.steps:,}; go on with: rnncore train --resume {run.path}")
        raise typer.Exit(130)
    picture = draw(run, run.path.resolve().name)
    best = "" if result.best_valid is None else f", best validation {result.best_valid:.4f} nats"
    typer.echo(f"done: {result.steps:,} updates in {result.seconds:.1f} s{best}")
    _score_test(trainer)
    files = [run.model] + ([picture] if picture is not None else [])
    typer.echo(f"wrote {', '.join(map(str, files))}")
    return result


def _score_test(trainer: Trainer) -> None:
    """Score the test part, where there is one, with the best model."""
    if len(trainer.corpus.test) < 2:
        return
    from rnncore.metrics import perplexity
    from rnncore.models import LanguageModel

    total, count = LanguageModel.load(trainer.require_run().model).score(trainer.corpus.test)
    typer.echo(f"test: {total / count:.4f} nats, perplexity {perplexity(total / count):.3f}, {count:,} tokens")
