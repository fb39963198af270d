"""``rnncore train lm``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from rnncore._messages import message
from rnncore.cli import options
from rnncore.cli.common import THREADS, set_threads
from rnncore.cli.train import start

if TYPE_CHECKING:
    from rnncore.data.subwords import TokenLevel


_NAMES = {
    "hidden_size": "hidden", "num_layers": "layers", "embedding_size": "embedding", "clip_norm": "clip",
    "projection_size": "projection", "warmup_steps": "warmup",
}  # fmt: skip


def _take_recipe(context: typer.Context, name: str | None) -> str | None:
    """Make the recipe's options the defaults of all others."""
    if name is not None:
        from rnncore.train.recipes import recipe

        chosen = recipe(name)
        values = {**chosen.model, **chosen.train, **chosen.text}
        context.default_map = {_NAMES.get(option, option): value for option, value in values.items()}
    return name


def _network(
    context: typer.Context,
    cell: str,
    hidden: int,
    layers: int,
    cell_options: str | None,
    proj_size: int,
    stack: str | None,
) -> dict[str, Any]:
    """The layers as `LanguageModel` takes them."""
    from rnncore import nn

    given = {"cell": cell, "hidden_size": hidden, "num_layers": layers}
    if stack is not None:
        names = {"cell": "cell", "hidden_size": "hidden", "num_layers": "layers"}
        sources = {key: context.get_parameter_source(name) for key, name in names.items()}
        said = {key: value for key, value in given.items() if "DEFAULT" not in getattr(sources[key], "name", "")}
        if cell_options is not None or proj_size:
            raise ValueError(message("train lm", "--stack", "no --cell-options or --proj-size beside it", "both"))
        return {**said, "layers": _parsed("--stack", stack, list)}
    if layers < 1 or (cell_options is None and not proj_size):
        return given
    options = {} if cell_options is None else _parsed("--cell-options", cell_options, dict)
    return {"layers": [nn.Layer(cell, hidden, options=options, proj_size=proj_size) for _ in range(layers)]}


def _parsed(name: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(message("train lm", name, "JSON", repr(text), str(error))) from None
    if not isinstance(value, kind):
        raise ValueError(message("train lm", name, f"a JSON {'list' if kind is list else 'object'}", text))
    return value


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter("numbers like 2000,10000", param_hint="--cutoffs")
    return [int(part) for part in parts]


def language_model(
    context: typer.Context,
    recipe: str | None = typer.Option(
        None,
        "--recipe",
        metavar="NAME",
        callback=_take_recipe,
        is_eager=True,
        help="Defaults of an experiment: ptb-small, ptb-medium, ptb-large, le-lstm, le-irnn-4, le-irnn-1, le-tanh-4, "
        "le-tanh-1, awd-lstm, wikitext2, wikitext2-adaptive (words), char-shakespeare.",
    ),
    text: Path = typer.Option(..., "--text", "--train", help="The training text (UTF-8).", show_default=False),
    valid: Path | None = typer.Option(None, "--valid", help="Validation text; default: the end of --text."),
    test: Path | None = typer.Option(None, "--test", help="Test text, scored at the end."),
    level: str = typer.Option("char", "--level", metavar="LEVEL", help="What a token is: char, byte, word or subword."),
    valid_fraction: float = typer.Option(
        0.1, "--valid-fraction", metavar="X", help="Share of --text, where no file is given."
    ),
    vocab_size: int | None = typer.Option(
        None, "--vocab-size", metavar="N", help="Keep so many tokens; others become <unk>. Subwords: 8000."
    ),
    min_count: int = typer.Option(
        1, "--min-count", metavar="N", help="Rarer tokens become <unk>; rarer pairs of subwords are not joined."
    ),
    tokenizer: Path | None = typer.Option(
        None, "--tokenizer", metavar="FILE", help="With --level subword: this tokenizer.json instead of a learnt one."
    ),
    cell: str = typer.Option(
        "lstm",
        "--cell",
        metavar="CELL",
        help="lstm, gru, gru-reset-before, rnn-tanh, rnn-relu, rnn-sigmoid, mgu or indrnn.",
    ),
    hidden: int = typer.Option(512, "--hidden", metavar="N", help="Units of a layer."),
    layers: int = typer.Option(3, "--layers", metavar="N", help="Layers."),
    cell_options: str | None = typer.Option(
        None, "--cell-options", metavar="JSON", help="Of every layer: '{\"peephole\": true}'; names: docs/cells.md."
    ),
    proj_size: int = typer.Option(0, "--proj-size", metavar="N", help="LSTM: features that h is projected to."),
    stack: str | None = typer.Option(
        None,
        "--stack",
        metavar="JSON",
        help='Layers one by one, in place of --cell, --hidden, --layers: \'[{"cell": "gru", "hidden_size": 64}]\'.',
    ),
    embedding: int | None = typer.Option(None, "--embedding", metavar="N", help="Embedding size; default: --hidden."),
    projection: int = typer.Option(
        0, "--projection", metavar="N", help="Units of a linear layer before the softmax; 0: none."
    ),
    narrow_last: bool = typer.Option(False, "--narrow-last", help="The last layer has the embedding's size."),
    tie_weights: bool = typer.Option(False, "--tie-weights", help="Use the embedding as the output layer too."),
    dropout: float = typer.Option(0.0, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    input_dropout: float | None = typer.Option(
        None, "--input-dropout", metavar="X", help="Of the embedding's output; default: --dropout."
    ),
    output_dropout: float | None = typer.Option(
        None, "--output-dropout", metavar="X", help="Of the last layer's output; default: --dropout."
    ),
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
    init_scale: float = typer.Option(
        1.0, "--init-scale", metavar="X", help="identity, orthogonal: of the recurrent weights."
    ),
    forget_bias: float | None = typer.Option(None, "--forget-bias", metavar="X", help="LSTM: start value."),
    init_range: float | None = typer.Option(
        None, "--init-range", metavar="X", help="All parameters start as U(-X, X) instead."
    ),
    embedding_range: float | None = typer.Option(
        None,
        "--embedding-range",
        metavar="X",
        help="Words in embedding and output layer start as U(-X, X), their bias at 0.",
    ),
    softmax: str = typer.Option(
        "full", "--softmax", metavar="NAME", help="full, adaptive, class, sampled or nce: the last for many words."
    ),
    cutoffs: str | None = typer.Option(
        None, "--cutoffs", metavar="N,N", help="adaptive, class: where the clusters begin."
    ),
    div_value: float = typer.Option(
        4.0, "--div-value", metavar="X", help="adaptive, untied: shrinks each cluster's features."
    ),
    samples: int = typer.Option(1024, "--samples", metavar="N", help="sampled, nce: words of noise for a batch."),
    bptt: int = typer.Option(50, "--bptt", metavar="N", help="New steps of an update (k1)."),
    bptt_back: int | None = typer.Option(
        None, "--bptt-back", metavar="N", help="Steps that the gradient goes back (k2)."
    ),
    vary_bptt: bool = typer.Option(False, "--vary-bptt", help="Chunks of varying length, about --bptt."),
    batch: int = typer.Option(50, "--batch", metavar="N", help="Parallel streams (or sentences)."),
    sentences: bool = typer.Option(False, "--sentences", help="Shuffled padded lines instead of streams."),
    reduction: str = typer.Option(
        "tokens", "--reduction", metavar="NAME", help="The loss is a mean over tokens, or (streams) summed over steps."
    ),
    epochs: options.EpochsOrSteps = None,
    steps: options.Steps = None,
    minutes: options.Minutes = None,
    optimizer: options.Optimizer = "adam",
    nonmono: int = typer.Option(5, "--nonmono", metavar="N", help="nt-asgd: epochs without gain before it averages."),
    lr: options.Rate = 2e-3,
    momentum: options.Momentum = 0.0,
    weight_decay: options.WeightDecay = 0.0,
    clip: options.Clip = 5.0,
    clip_value: options.ClipValue = 0.0,
    schedule: options.Schedule = "constant",
    warmup: options.WarmUp = 0,
    decay: options.Decay = 0.5,
    decay_after: options.DecayAfter = 0,
    patience: options.Patience = None,
    seed: options.Seed = 0,
    threads: int | None = THREADS,
    checkpoint_steps: options.CheckpointSteps = None,
    inspect: options.Inspect = None,
    inspect_norms: options.InspectNorms = None,
    tensorboard: options.TensorBoard = False,
    out: Path | None = typer.Option(None, "--out", metavar="RUN", help="The run folder; default: runs/<text's name>."),
    force: options.Force = False,
) -> None:
    """Train a language model on a text.

    Example: rnncore train lm --text book.txt --cell lstm --hidden 512 --layers 3 --epochs 10 --out runs/book

    Example: rnncore train lm --recipe ptb-small --text ptb.train.txt --valid ptb.valid.txt --test ptb.test.txt
    """
    from rnncore import Generator
    from rnncore.data import TextSource
    from rnncore.models import LanguageModel
    from rnncore.train import TrainConfig
    from rnncore.train.language_model import LanguageModelTask

    config = TrainConfig(
        epochs=epochs, steps=steps, minutes=minutes, batching="sentences" if sentences else "streams", batch=batch,
        bptt=bptt, bptt_back=bptt_back, vary_bptt=vary_bptt, reduction=reduction, optimizer=optimizer, nonmono=nonmono,
        lr=lr, momentum=momentum, weight_decay=weight_decay, clip_norm=clip, clip_value=clip_value, schedule=schedule,
        warmup_steps=warmup, decay=decay, decay_after=decay_after, patience=patience, seed=seed,
        checkpoint_steps=checkpoint_steps, inspect_every=inspect, inspect_norms=inspect_norms,
    )  # fmt: skip
    set_threads(threads)
    source = TextSource(
        train=str(text.absolute()),
        valid=None if valid is None else str(valid.absolute()),
        test=None if test is None else str(test.absolute()),
        level=cast("TokenLevel", level),
        valid_fraction=valid_fraction,
        max_size=vocab_size,
        min_count=min_count,
        tokenizer=None if tokenizer is None else str(tokenizer.absolute()),
    )
    corpus = source.load()
    model = LanguageModel(
        vocabulary=corpus.vocabulary, embedding_size=embedding, dropout=dropout,
        **_network(context, cell, hidden, layers, cell_options, proj_size, stack),
        tie_weights=tie_weights, variational=variational, weight_drop=weight_drop,
        embedding_dropout=embedding_dropout, activation_penalty=activation_penalty, temporal_penalty=temporal_penalty,
        connection=connection, learn_initial_state=learn_initial_state, init=init, init_scale=init_scale,
        forget_bias=forget_bias, init_range=init_range, embedding_range=embedding_range, softmax=softmax,
        cutoffs=_numbers(cutoffs), div_value=div_value, samples=samples, projection_size=projection,
        narrow_last=narrow_last, input_dropout=input_dropout, output_dropout=output_dropout,
        generator=Generator(seed),
    )  # fmt: skip
    task = LanguageModelTask(corpus, source)
    start(model, task, config, out=out, name=text.stem, force=force, tensorboard=tensorboard)
