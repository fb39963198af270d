"""From PyTorch: modules of torch.nn, and state dicts (safetensors files need no torch)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import rnncore
from rnncore import nn
from rnncore.convert._errors import ConversionError, need, refusal
from rnncore.convert._torch_state import chain_of_state
from rnncore.convert.chain import Chain

_OPERATION = "from_torch"


def from_torch(source: Any, *, kinds: Mapping[str, str] | None = None) -> nn.Module:
    """The module of rnncore that computes what a PyTorch module computes, with its weights.

    Args:
        source: One of
            a torch.nn.Module: RNN, LSTM, GRU, their cells, Embedding, Linear, LayerNorm, Dropout, Tanh, Sigmoid, ReLU,
            Softmax, LogSoftmax, Identity, or a Sequential of them;
            a state dict (tensors or arrays by name), or the path of one: `.safetensors`, or `.pt` and `.pth`, which are
            read by torch. Its layers are taken to follow one another in the order of the names.
        kinds: What a state dict does not say, by layer name ("" where names have no prefix): "rnn-tanh" (default) or
            "rnn-relu"; "linear" or "embedding" for a matrix alone, where the sizes leave it open.

    Returns:
        The module of the same name; for a Sequential and for a state dict of several layers a `Chain`, with the same
        parameter names. `batch_first` is kept; a state dict does not tell it.

    Raises:
        ConversionError: naming each layer that has no counterpart, each missing and each unused weight.
        ImportError: a `.pt` file, and torch is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        return chain_of_state(_read(Path(source)), kinds or {}, str(source))
    if isinstance(source, Mapping):
        return chain_of_state({name: _array(value, name) for name, value in source.items()}, kinds or {}, "state dict")
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(source, torch.nn.Module):
        expected = "a torch.nn.Module, a state dict or the path of one"
        raise TypeError(f"[{_OPERATION}] source: expected {expected}, got {type(source).__name__}")
    if kinds:
        raise ValueError(f"[{_OPERATION}] kinds: expected none with a module, got {dict(kinds)}")
    return _module(torch, source, "")


def _module(torch: Any, theirs: Any, name: str) -> nn.Module:
    """The counterpart of one torch module."""
    kind = type(theirs)
    place = f"layer {name!r} ({kind.__name__})" if name else kind.__name__
    if issubclass(kind, torch.nn.Sequential) and kind.forward is torch.nn.Sequential.forward:
        parts = {child: _module(torch, part, f"{name}.{child}" if name else child) for child, part in _parts(theirs)}
        chain = Chain(parts)
        chain.training = theirs.training
        return chain
    if kind not in {getattr(torch.nn, known) for known in _BUILDERS}:
        hint = "convert its parts, or its state_dict()"
        raise refusal(_OPERATION, place, "one of torch.nn." + ", ".join(_BUILDERS), repr(kind.__name__), hint)
    _refuse_hooks(theirs, place)
    values = {key: _array(value, f"{name}.{key}" if name else key) for key, value in theirs.state_dict().items()}
    dtypes = {value.dtype.name for value in values.values()}
    dtype = "float64" if dtypes == {"float64"} else "float32"
    if not dtypes <= {dtype}:
        raise refusal(_OPERATION, place, "weights all float32 or all float64", ", ".join(sorted(dtypes)))
    try:
        ours = _BUILDERS[kind.__name__](theirs, dtype)
    except ValueError as error:
        raise ConversionError(f"{error} (in {place})") from None
    if kind is torch.nn.LayerNorm and not theirs.elementwise_affine:
        return ours
    ours.load_state_dict(values)
    for key, parameter in theirs.named_parameters():
        getattr(ours, key).requires_grad = parameter.requires_grad
    return ours.train(theirs.training)


def _parts(theirs: Any) -> list[tuple[str, Any]]:
    return list(theirs._modules.items())  # named_children() would leave out a module used twice


def _refuse_hooks(theirs: Any, place: str) -> None:
    """Weight norm, spectral norm and the like compute the weights anew at each call."""
    if getattr(theirs, "parametrizations", None) or theirs._forward_pre_hooks or theirs._forward_hooks:
        raise refusal(_OPERATION, place, "plain weights", "parametrizations or hooks", "remove them first")


def _array(value: Any, name: str) -> np.ndarray[Any, Any]:
    """A tensor of any library as an array."""
    if hasattr(value, "detach"):
        value = value.detach()
    if hasattr(value, "cpu"):
        value = value.cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        got = f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip()
        raise refusal(_OPERATION, name, "a tensor of float32 or float64", got) from None
    if array.dtype == object:
        hint = "pass the state dict that stands inside" if isinstance(value, Mapping) else ""
        raise refusal(_OPERATION, name, "a tensor", type(value).__name__, hint)
    return array


def _read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The state dict of a file."""
    if path.suffix == ".safetensors":
        return {name: tensor.numpy() for name, tensor in rnncore.load_tensors(path)[0].items()}
    if path.suffix not in (".pt", ".pth"):
        raise refusal(_OPERATION, str(path), "a file .safetensors, .pt or .pth", path.suffix or "no ending")
    torch = need(_OPERATION, "torch", "")
    with path.open("rb"):  # a missing file is the operating system's error
        pass
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise refusal(_OPERATION, str(path), "a state dict saved by torch", reason, "not a whole module") from None
    if not isinstance(state, Mapping):
        raise refusal(_OPERATION, str(path), "a state dict", type(state).__name__)
    return {str(name): _array(value, f"{path}: {name}") for name, value in state.items()}


# The constructors, by name of the class ----------------------------------------------------------------


def _recurrent_options(theirs: Any) -> dict[str, Any]:
    names = ("num_layers", "bias", "batch_first", "dropout", "bidirectional")
    return {name: getattr(theirs, name) for name in names}


def _rnn(theirs: Any, dtype: str) -> nn.Module:
    options = _recurrent_options(theirs)
    return nn.RNN(theirs.input_size, theirs.hidden_size, nonlinearity=theirs.nonlinearity, dtype=dtype, **options)


def _lstm(theirs: Any, dtype: str) -> nn.Module:
    options = _recurrent_options(theirs)
    return nn.LSTM(theirs.input_size, theirs.hidden_size, proj_size=theirs.proj_size, dtype=dtype, **options)


def _gru(theirs: Any, dtype: str) -> nn.Module:
    return nn.GRU(theirs.input_size, theirs.hidden_size, dtype=dtype, **_recurrent_options(theirs))


def _rnn_cell(theirs: Any, dtype: str) -> nn.Module:
    return nn.RNNCell(theirs.input_size, theirs.hidden_size, theirs.bias, theirs.nonlinearity, dtype=dtype)


def _lstm_cell(theirs: Any, dtype: str) -> nn.Module:
    return nn.LSTMCell(theirs.input_size, theirs.hidden_size, theirs.bias, dtype=dtype)


def _gru_cell(theirs: Any, dtype: str) -> nn.Module:
    return nn.GRUCell(theirs.input_size, theirs.hidden_size, theirs.bias, dtype=dtype)


def _embedding(theirs: Any, dtype: str) -> nn.Module:
    for option in ("max_norm", "scale_grad_by_freq"):
        if getattr(theirs, option):
            raise ValueError(f"[{_OPERATION}] {option}: expected none, got {getattr(theirs, option)}")
    return nn.Embedding(theirs.num_embeddings, theirs.embedding_dim, theirs.padding_idx, dtype=dtype)


def _linear(theirs: Any, dtype: str) -> nn.Module:
    return nn.Linear(theirs.in_features, theirs.out_features, theirs.bias is not None, dtype=dtype)


def _layer_norm(theirs: Any, dtype: str) -> nn.Module:
    ours = nn.LayerNorm(tuple(theirs.normalized_shape), theirs.eps, bias=theirs.bias is not None, dtype=dtype)
    return ours if theirs.elementwise_affine else ours.requires_grad_(False)  # its scale is one and stays one


def _softmax(theirs: Any, dtype: str) -> nn.Module:
    if theirs.dim is None:
        raise ValueError(f"[{_OPERATION}] dim: expected an axis, got None")
    return (nn.Softmax if type(theirs).__name__ == "Softmax" else nn.LogSoftmax)(theirs.dim)


_BUILDERS = {
    "RNN": _rnn,
    "LSTM": _lstm,
    "GRU": _gru,
    "RNNCell": _rnn_cell,
    "LSTMCell": _lstm_cell,
    "GRUCell": _gru_cell,
    "Embedding": _embedding,
    "Linear": _linear,
    "LayerNorm": _layer_norm,
    "Dropout": lambda theirs, dtype: nn.Dropout(theirs.p),
    "Identity": lambda theirs, dtype: nn.Dropout(0.0),
    "Tanh": lambda theirs, dtype: nn.Tanh(),
    "Sigmoid": lambda theirs, dtype: nn.Sigmoid(),
    "ReLU": lambda theirs, dtype: nn.ReLU(),
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
}
