"""The commands put together, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from rnncore._messages import message
from rnncore.cli.convert import convert
from rnncore.cli.demo import demo
from rnncore.cli.prepare import prepare
from rnncore.cli.score import evaluate, predict
from rnncore.cli.score_text import score
from rnncore.cli.show import info, plot, report
from rnncore.cli.text import sample
from rnncore.cli.train import train_app
from rnncore.cli.train_caption import caption
from rnncore.cli.train_classify import classify
from rnncore.cli.train_forecast import forecast
from rnncore.cli.train_lm import language_model
from rnncore.cli.train_music import music
from rnncore.cli.train_seq2seq import seq2seq
from rnncore.cli.train_speech import speech
from rnncore.cli.train_tag import tag
from rnncore.cli.watch import watch

INTERRUPTED = 130  # as a shell reports Ctrl-C

app = typer.Typer(
    name="rnncore",
    help="Recurrent neural networks, fast: train, score and use them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app.command("lm")(language_model)
train_app.command("forecast")(forecast)
train_app.command("music")(music)
train_app.command("speech")(speech)
train_app.command("classify")(classify)
train_app.command("tag")(tag)
train_app.command("seq2seq")(seq2seq)
train_app.command("caption")(caption)
app.add_typer(train_app, name="train")
app.command("eval")(evaluate)
app.command()(predict)
app.command()(prepare)
app.command()(score)
app.command()(sample)
app.command()(info)
app.command()(plot)
app.command()(report)
app.command()(watch)
app.command()(convert)
app.command()(demo)


def _version(asked: bool) -> None:
    if asked:
        from rnncore import __version__

        typer.echo(f"rnncore {__version__}")
        raise typer.Exit


def _cmake_dir(asked: bool) -> None:
    if asked:
        import rnncore

        folder = Path(rnncore.__file__).parent / "lib" / "cmake" / "rnncore"
        if not folder.is_dir():
            hint = "this is no installed package: pip install it, or use the build folder's"
            raise RuntimeError(message("cmake-dir", str(folder), "the C++ package", "no such folder", hint))
        typer.echo(str(folder))
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    cmake_dir: bool = typer.Option(
        False, "--cmake-dir", callback=_cmake_dir, is_eager=True, help="Print where the C++ package is (rnncore_DIR)."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error (before the command)."),
) -> None:
    """Recurrent neural networks, fast: train, score and use them.

    Example: rnncore train lm --text book.txt --out runs/book
    """


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 (it failed), 2 (used wrongly), 130 (Ctrl-C).

    An error is one line on stderr; with ``--debug`` a traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if debug:
        given.remove("--debug")  # it may stand anywhere
    command = typer.main.get_command(app)
    try:
        status = command.main(given, prog_name="rnncore", standalone_mode=False) or 0
        sys.stdout.flush()  # a full disk must show here, not at exit
        raise SystemExit(status)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader has gone (`rnncore sample | head`): nothing to say, and nothing to flush at exit.
        sys.stdout = None
        raise SystemExit(1) from None
    except Exception as error:
        if debug:
            raise
        lost = _lost_output(error)
        text = lost or (error.format_message() if hasattr(error, "format_message") else _line(error))
        if text:  # help that was shown for want of arguments has none
            typer.echo(f"rnncore: {text}", err=True)
        raise SystemExit(exit_code(error)) from None


def _lost_output(error: Exception) -> str:
    """What went wrong if standard output cannot be written (it is given up then), else nothing."""
    try:
        sys.stdout.flush()
        # Unbuffered output fails as it is written. Errors of files carry the file's name or a message of our own.
        unbuffered = isinstance(error, OSError) and error.errno is not None and error.filename is None
        if not unbuffered:
            return ""
    except OSError as failure:
        error = failure
    sys.stdout = None  # or Python tries, and complains, once more at exit
    return message("output", "stdout", "to write the whole answer", getattr(error, "strerror", None) or "an error")


def exit_code(error: Exception) -> int:
    """2 for what the caller gave wrongly (Typer's usage errors say so themselves), 1 for the rest."""
    usage = getattr(error, "exit_code", None)
    if isinstance(usage, int):
        return usage
    return 2 if isinstance(error, ValueError | TypeError | FileExistsError) else 1


def _line(error: Exception) -> str:
    """The error in one line."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:  # the system's own
        reason = (error.strerror or "an error").lower()
        return message("file", str(error.filename), "one that can be opened", reason)
    text = " ".join(str(error).split()) or type(error).__name__
    expected = ValueError | TypeError | OSError | ImportError | ArithmeticError | RuntimeError | MemoryError
    return text if isinstance(error, expected) else f"{type(error).__name__}: {text}; --debug shows where"
