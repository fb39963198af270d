"""``rnncore convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

_IN = "run folder, .safetensors, .pt, .onnx, .keras, .h5 or .json"
_OUT = ".safetensors, .onnx or .pt"


def convert(
    source: Path = typer.Argument(metavar="IN", help=f"The model: {_IN}.", show_default=False),
    target: Path = typer.Argument(metavar="OUT", help=f"The file to write: {_OUT}.", show_default=False),
    kind: list[str] = typer.Option(
        [],
        "--kind",
        metavar="LAYER=KIND",
        help="What a state dict does not say: rnn-tanh, rnn-relu, linear, embedding.",
    ),
    opset: int = typer.Option(17, "--opset", help="The operator set of an .onnx file; 17 or newer."),
) -> None:
    """Convert a model between rnncore, PyTorch, ONNX and Keras.

    Read: rnncore's models, PyTorch state dicts, ONNX graphs, Keras models, JSON files of audio engines.
    Written: rnncore's model files (.safetensors), ONNX graphs, PyTorch state dicts (.pt).

    Example: rnncore convert model.keras model.safetensors
    """
    from rnncore._messages import message

    if target.suffix not in (".safetensors", ".onnx", ".pt"):
        raise ValueError(message("convert", str(target), f"a file {_OUT}", target.suffix or "no ending"))
    model = _read(source, kind)
    _write(model, target, opset)
    typer.echo(f"{source} -> {target}: {_summary(model)}")


def _read(source: Path, kinds: list[str]) -> Any:
    """The model as a module."""
    from rnncore import convert
    from rnncore._messages import message

    given = dict(_pair(one) for one in kinds)
    if given and source.suffix not in (".safetensors", ".pt", ".pth"):
        raise ValueError(message("convert", "--kind", "a state dict to say it about", str(source)))
    if source.is_dir():
        return _read_ours(source)
    if source.suffix == ".safetensors" and not given and _is_ours(source):
        return _read_ours(source)
    if source.suffix in (".safetensors", ".pt", ".pth"):
        return convert.from_torch(source, kinds=given)
    if source.suffix == ".onnx":
        return convert.from_onnx(source).chain()
    if source.suffix in (".keras", ".h5", ".hdf5", ".json"):
        return convert.from_keras(source).chain()
    raise ValueError(message("convert", str(source), f"a {_IN}", source.suffix or "no ending"))


def _pair(text: str) -> tuple[str, str]:
    from rnncore._messages import message

    name, equals, kind = text.rpartition("=")
    if not equals:
        raise ValueError(message("convert", "--kind", "LAYER=KIND", repr(text)))
    return name, kind


def _is_ours(path: Path) -> bool:
    """Whether a safetensors file is a model file of rnncore, not a state dict."""
    import rnncore

    return "rnncore" in rnncore.load_tensors(path)[1]


def _read_ours(source: Path) -> Any:
    from rnncore import _core
    from rnncore.cli.common import model_path
    from rnncore.convert import load_chain
    from rnncore.models import LanguageModel

    path = model_path(source)
    kind = _core.load_model(path)[0].kind
    return LanguageModel.load(path) if kind == "language_model" else load_chain(path)


def _write(model: Any, target: Path, opset: int) -> None:
    from rnncore import _core, convert
    from rnncore.models import LanguageModel

    if target.suffix == ".onnx":
        convert.to_onnx(model, target, opset=opset)
    elif target.suffix == ".safetensors":
        if isinstance(model, LanguageModel):
            model.save(target)
        else:
            convert.save_chain(model, target)
    else:
        import io

        module = convert.to_torch(model)
        import torch

        buffer = io.BytesIO()
        torch.save(module.state_dict(), buffer)
        _core.write_file_atomically(target, buffer.getvalue())


def _summary(model: Any) -> str:
    """The layers and the number of values."""
    from rnncore.convert.chain import leaves_of

    layers = [type(layer).__name__ for layer in leaves_of(model).values()]
    count = sum(parameter.numel() for parameter in model.parameters())
    return f"{', '.join(layers)}; {count:,} parameters"
