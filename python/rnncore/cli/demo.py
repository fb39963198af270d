"""``rnncore demo``."""

from __future__ import annotations

from pathlib import Path

import typer

from rnncore.cli.common import THREADS, free_folder, set_threads


def demo(
    out: Path | None = typer.Option(None, "--out", metavar="RUN", help="The run folder; default: runs/demo."),
    epochs: int = typer.Option(5, "--epochs", metavar="N", help="Passes over the text."),
    steps: int | None = typer.Option(None, "--steps", metavar="N", help="Stop after so many updates."),
    seed: int = typer.Option(1, "--seed", metavar="N", help="Of all random numbers."),
    threads: int | None = THREADS,
    force: bool = typer.Option(False, "--force", help="Take the place of a run in --out."),
) -> None:
    """Train on the bundled Shakespeare for about a minute and write some.

    A two-layer LSTM of 128 units; validation ends at about 1.55 nats a character (perplexity 4.7).

    Example: rnncore demo --out runs/demo
    """
    from rnncore import Generator
    from rnncore.cli.train import describe, finish
    from rnncore.data import TextSource, tinyshakespeare
    from rnncore.generate import SamplingOptions, generate
    from rnncore.metrics import bits, perplexity
    from rnncore.models import LanguageModel
    from rnncore.train import RunFolder, TrainConfig, Trainer

    set_threads(threads)
    run = RunFolder.create(free_folder(Path("runs/demo")) if out is None else out, force=force)
    source = TextSource(train=str(tinyshakespeare()))
    corpus = source.load()
    model = LanguageModel(
        vocabulary=corpus.vocabulary, hidden_size=128, num_layers=2, cell="lstm", generator=Generator(seed)
    )
    config = TrainConfig(
        epochs=epochs, steps=steps, batch=50, bptt=50, lr=4e-3, schedule="cosine", clip_norm=5.0, seed=seed
    )
    trainer = Trainer(model, corpus, config, run=run, source=source)
    describe(trainer)
    finish(trainer)
    best = LanguageModel.load(run.model)
    total, count = best.score(corpus.valid)
    nats = total / count
    typer.echo(
        f"\nvalidation: perplexity {perplexity(nats):.3f}, {nats:.4f} nats ({bits(nats):.4f} bits) a character, "
        f"over {count:,} characters\n"
    )
    [sample] = generate(best, "\n", length=500, options=SamplingOptions(temperature=0.8), seed=seed)
    typer.echo(sample.text)
    typer.echo(f"\nmore of it: rnncore sample {run.path} --prompt 'ROMEO:' --temperature 0.8")
