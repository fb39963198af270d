"""What several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from rnncore.models import LanguageModel, Model
    from rnncore.train import RunFolder

_M = TypeVar("_M", bound="Model")

RUN_ARGUMENT = typer.Argument(metavar="RUN", help="A run folder, or a model.safetensors file.", show_default=False)
THREADS = typer.Option(None, "--threads", metavar="N", help="Threads; default: RNNCORE_NUM_THREADS or all cores.")


def set_threads(threads: int | None) -> None:
    """Use that many threads, if given."""
    if threads is not None:
        import rnncore

        rnncore.set_num_threads(threads)


def model_path(run: Path) -> Path:
    """The model file of a run folder, or the file itself.

    Raises:
        OSError: neither is there.
    """
    from rnncore._messages import message
    from rnncore.train.run import RunFolder

    if run.is_file():
        return run
    folder = RunFolder.open(run)
    if not folder.model.exists():
        raise FileNotFoundError(message("run folder", str(run), "a model.safetensors", "none", "train it first"))
    return folder.model


def load_model(run: Path) -> Model:
    """The model of a run folder or file, of any kind."""
    from rnncore import models

    path = model_path(run)
    return _finite(models.load(path), path)


def load_language_model(run: Path) -> LanguageModel:
    """The same where only a language model will do."""
    from rnncore.models import LanguageModel

    path = model_path(run)
    return _finite(LanguageModel.load(path), path)


def _finite(model: _M, path: Path) -> _M:
    """The model.

    Raises:
        FloatingPointError: a parameter is not finite, so nothing that it says would mean anything.
    """
    from rnncore._messages import message
    from rnncore.train.divergence import first_not_finite

    bad = first_not_finite(model.state_dict())
    if bad is not None:
        raise FloatingPointError(message("load model", str(path), "finite parameters", f"NaN or Inf in {bad}"))
    return model


def free_folder(base: Path) -> Path:
    """`base`, or the first of base-2, base-3, ... that does not exist."""
    if not base.exists():
        return base
    number = 2
    while (candidate := base.with_name(f"{base.name}-{number}")).exists():
        number += 1
    return candidate


def draw(run: RunFolder, title: str) -> Path | None:
    """Draw the loss curve of a run; None where matplotlib is missing or nothing is logged yet."""
    from rnncore.plot import loss_curve
    from rnncore.train import read_log

    try:
        loss_curve(read_log(run.log), run.picture, title=title)
    except (ImportError, ValueError):
        return None
    return run.picture


def joined(prompt: str, text: str, level: str) -> str:
    """Prompt and continuation as one text: words are separated by a blank."""
    return f"{prompt} {text}" if level == "word" and prompt and not prompt[-1].isspace() else prompt + text
