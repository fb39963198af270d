"""``rnncore train speech``."""

from __future__ import annotations

from pathlib import Path

import typer

from rnncore.cli import options
from rnncore.cli.common import THREADS, set_threads
from rnncore.cli.train import start


def speech(
    data: Path = typer.Option(
        ..., "--data", "--train", help="WAV files: a folder, a tar archive, or a folder in one (speech.tar.gz/train)."
    ),
    valid: Path | None = typer.Option(None, "--valid", help="The same to validate on; default: a share of --data."),
    test: Path | None = typer.Option(None, "--test", help="The same to test on at the end."),
    transcripts: Path | None = typer.Option(
        None, "--transcripts", help="CSV lines file,text[,speaker]; default: files are named <text>_<speaker>_*.wav."
    ),
    hold_out: str | None = typer.Option(
        None, "--hold-out", metavar="SPEAKER", help="Test on all recordings of this speaker, and train without them."
    ),
    valid_fraction: float = typer.Option(0.1, "--valid-fraction", metavar="X", help="Share of --data; 0: none."),
    skip_malformed: bool = typer.Option(False, "--skip-malformed", help="Leave out malformed files, and count them."),
    units: str = typer.Option("char", "--units", metavar="NAME", help="What texts are made of: char or word."),
    features: str = typer.Option("mfcc", "--features", metavar="NAME", help="mfcc or log-mel."),
    rate: int = typer.Option(8000, "--rate", metavar="N", help="Samples a second that sound is brought to."),
    window: float = typer.Option(0.04, "--window", metavar="X", help="Seconds of a frame."),
    hop: float = typer.Option(0.02, "--hop", metavar="X", help="Seconds between frames."),
    join: int = typer.Option(1, "--join", metavar="N", help="Join up to N training recordings of a speaker."),
    augment: bool = typer.Option(False, "--augment", help="Vary speed, mask stretches of time and features."),
    cell: str = typer.Option("lstm", "--cell", metavar="CELL", help="lstm, gru, rnn-tanh, ..."),
    hidden: int = typer.Option(96, "--hidden", metavar="N", help="Units of a layer in each direction."),
    layers: int = typer.Option(2, "--layers", metavar="N", help="Layers."),
    dropout: float = typer.Option(0.3, "--dropout", metavar="X", help="Probability, in [0, 1)."),
    batch: int = typer.Option(16, "--batch", metavar="N", help="Recordings of an update."),
    epochs: options.Epochs = 20,
    steps: options.Steps = None,
    optimizer: options.Optimizer = "adam",
    lr: options.Rate = 3e-3,
    weight_decay: options.WeightDecay = 0.0,
    clip: options.Clip = 5.0,
    schedule: options.Schedule = "cosine",
    decay: options.Decay = 0.5,
    patience: options.Patience = None,
    seed: options.Seed = 0,
    inspect: options.Inspect = None,
    inspect_norms: options.InspectNorms = None,
    threads: int | None = THREADS,
    tensorboard: options.TensorBoard = False,
    out: Path | None = typer.Option(
        None, "--out", metavar="RUN", help="The run folder; default: runs/<folder's name>."
    ),
    force: options.Force = False,
) -> None:
    """Train a recogniser of speech from recordings with texts, without alignments (CTC). Needs scipy.

    Example: rnncore train speech --data fsdd.tar.gz/train --test fsdd.tar.gz/test --augment --out runs/digits

    Example: rnncore eval runs/digits --data fsdd.tar.gz/test; ls *.wav | rnncore predict runs/digits
    """
    from rnncore import Generator
    from rnncore.data import AcousticFeatures, labels_of
    from rnncore.models import Transcriber
    from rnncore.train import TrainConfig
    from rnncore.train.speech import SpeechSource, SpeechTask

    set_threads(threads)
    paths = [None if path is None else str(path.absolute()) for path in (valid, test, transcripts)]
    source = SpeechSource(
        str(data.absolute()), valid=paths[0], test=paths[1], transcripts=paths[2], hold_out=hold_out,
        valid_fraction=valid_fraction, skip_malformed=skip_malformed, join=join, augment=augment, seed=seed,
    )  # fmt: skip
    task = SpeechTask(*source.load(), source)
    model = Transcriber(
        labels_of(task.train.utterances, units), units=units,
        features=AcousticFeatures(kind=features, rate=rate, window=window, step=hop), hidden_size=hidden,
        num_layers=layers, cell=cell, dropout=dropout, generator=Generator(seed),
    )  # fmt: skip
    config = TrainConfig(
        epochs=epochs, steps=steps, batch=batch, optimizer=optimizer, lr=lr, weight_decay=weight_decay,
        clip_norm=clip, schedule=schedule, decay=decay, patience=patience, seed=seed,
        inspect_every=inspect, inspect_norms=inspect_norms,
    )  # fmt: skip
    start(model, task, config, out=out, name=data.name.split(".")[0], force=force, tensorboard=tensorboard)
