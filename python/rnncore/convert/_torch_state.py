"""A PyTorch state dict alone, without its module: the layers are read from the names and shapes of the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore import nn
from rnncore.convert._errors import refusal
from rnncore.convert._weights import Weights, one_dtype
from rnncore.convert.chain import RECURRENT, Chain

_OPERATION = "from_torch"
_STACK = re.compile(r"(weight|bias)_(ih|hh|hr)_l(\d+)(_reverse)?")
_CELL = re.compile(r"(weight|bias)_(ih|hh)")
_KINDS = ("rnn-tanh", "rnn-relu", "linear", "embedding")
Array = np.ndarray[Any, Any]


def chain_of_state(state: Mapping[str, Array], kinds: Mapping[str, str], origin: str) -> nn.Module:
    """See `from_torch`."""
    groups: dict[str, dict[str, Array]] = {}
    for name, value in state.items():
        prefix, _, own = name.rpartition(".")
        groups.setdefault(prefix, {})[own] = value
    unknown = [name for name in kinds if name not in groups or kinds[name] not in _KINDS]
    if unknown:
        expected = f"layers of {list(groups)} and kinds of {list(_KINDS)}"
        raise ValueError(f"[{_OPERATION}] kinds: expected {expected}, got {dict(kinds)}")
    dtype = one_dtype(_OPERATION, origin, state)
    names = list(groups)
    layers: dict[str, nn.Module] = {}
    width: int | None = None  # of what the layer before gives
    for i, name in enumerate(names):
        place = f"{origin}: layer {name!r}" if name else origin
        following = _input_width(groups[names[i + 1]]) if i + 1 < len(names) else None
        layers[name] = _layer(groups[name], kinds.get(name), dtype, width, following, place)
        given = _input_width(groups[name])
        if width is not None and not isinstance(layers[name], nn.Embedding) and given != width:
            raise refusal(
                _OPERATION, place, f"{width} input features, as the layer before it gives", str(given),
                "the layers of a state dict must follow one another in its order",
            )  # fmt: skip
        width = _output_width(layers[name], width)
    return layers[""] if names == [""] else Chain(layers)


def _layer(
    group: Mapping[str, Array], kind: str | None, dtype: str, before: int | None, following: int | None, place: str
) -> nn.Module:
    if "weight_ih_l0" in group:
        return _stack(group, kind, dtype, place)
    if "weight_ih" in group:
        return _cell(group, kind, dtype, place)
    weights = Weights(_OPERATION, place, group)
    shape: tuple[int, ...] = group["weight"].shape if "weight" in group else ()
    bias = "bias" in group
    layer: nn.Module
    if len(shape) == 1:
        weights.take("weight", shape)
        layer = nn.LayerNorm(shape[0], bias=bias, dtype=dtype)
    elif len(shape) == 2:
        weights.take("weight", shape)
        if (kind or _matrix_kind(shape, bias, before, following, place)) == "embedding":
            layer, bias = nn.Embedding(shape[0], shape[1], dtype=dtype), False
        else:
            layer = nn.Linear(shape[1], shape[0], bias, dtype=dtype)
    else:
        got = ", ".join(f"{name} {value.shape}" for name, value in group.items())
        raise refusal(_OPERATION, place, "the weights of a layer that rnncore has", got)
    if bias:
        weights.take("bias", shape[:1])
    weights.finish()
    layer.load_state_dict(group)
    return layer


def _matrix_kind(shape: tuple[int, ...], bias: bool, before: int | None, following: int | None, place: str) -> str:
    """Whether a matrix multiplies (O, I) or is a table (V, E): told by the sizes around it."""
    if bias or before is not None:
        return "linear"
    if shape[0] == shape[1] or following not in shape:
        hint = "say which with kinds={name: 'linear' or 'embedding'}"
        raise refusal(_OPERATION, place, "a linear layer or an embedding", f"a matrix {shape} that may be either", hint)
    return "linear" if shape[0] == following else "embedding"


def _recurrent_kind(gates: int, kind: str | None, place: str) -> str:
    if gates == 1:
        return kind or "rnn-tanh"
    if gates not in (3, 4):
        raise refusal(_OPERATION, place, "weights of 1, 3 or 4 gates (RNN, GRU, LSTM)", f"{gates}")
    return "gru" if gates == 3 else "lstm"


def _sizes(group: Mapping[str, Array], suffix: str, place: str) -> tuple[int, int]:
    """Hidden size and gates of a layer, from its recurrent weights (G*H, H), or (G*H, P) with a projection (P, H)."""
    matrix = group.get(f"weight_hh{suffix}")
    if matrix is None or matrix.ndim != 2 or 0 in matrix.shape:
        got = "none" if matrix is None else f"shape {matrix.shape}"
        raise refusal(_OPERATION, place, f"weight_hh{suffix} of shape (G*H, H)", got)
    projection = group.get(f"weight_hr{suffix}")
    if projection is not None and projection.ndim == 2:
        return projection.shape[1], matrix.shape[0] // max(projection.shape[1], 1)
    return matrix.shape[1], matrix.shape[0] // matrix.shape[1]


def _stack(group: Mapping[str, Array], kind: str | None, dtype: str, place: str) -> nn.Module:
    """RNN, LSTM or GRU from weights named as weight_ih_l0_reverse."""
    foreign = [name for name in group if not _STACK.fullmatch(name)]
    if foreign:
        raise refusal(_OPERATION, place, "the weights of one recurrent layer", ", ".join(foreign), "unused weights")
    count = 1 + max(int(match[3]) for match in map(_STACK.fullmatch, group) if match)
    if count > len(group):
        raise refusal(_OPERATION, place, f"weights of {count} layers", f"{len(group)} arrays")
    hidden, gates = zip(*(_sizes(group, f"_l{layer}", place) for layer in range(count)), strict=True)
    cell = _recurrent_kind(gates[0], kind, place)
    matrix = group["weight_ih_l0"]
    if matrix.ndim != 2 or matrix.shape[1] < 1:
        raise refusal(_OPERATION, place, "weight_ih_l0 of shape (G*H, I)", f"shape {matrix.shape}")
    options: dict[str, Any] = {
        "num_layers": count,
        "bias": any(name.startswith("bias") for name in group),
        "bidirectional": any(name.endswith("_reverse") for name in group),
        "dtype": dtype,
    }
    if "weight_hr_l0" in group:
        options["proj_size"] = group["weight_hr_l0"].shape[0]
    size: Any = hidden[0] if len(set(hidden)) == 1 else list(hidden)
    layer = _recurrent(cell, matrix.shape[1], size, options, place)
    return _loaded(layer, group, place)


def _recurrent(cell: str, inputs: int, hidden: Any, options: dict[str, Any], place: str) -> nn.Module:
    try:
        if cell == "lstm":
            return nn.LSTM(inputs, hidden, **options)
        if cell == "gru":
            return nn.GRU(inputs, hidden, **options)
        return nn.RNN(inputs, hidden, nonlinearity=cell.removeprefix("rnn-"), **options)
    except (ValueError, TypeError) as error:
        raise refusal(_OPERATION, place, "a layer that rnncore has", str(error)) from None


def _cell(group: Mapping[str, Array], kind: str | None, dtype: str, place: str) -> nn.Module:
    hidden, gates = _sizes(group, "", place)
    cell = _recurrent_kind(gates, kind, place)
    matrix = group["weight_ih"]
    if matrix.ndim != 2:
        raise refusal(_OPERATION, place, "weight_ih of shape (G*H, I)", f"shape {matrix.shape}")
    options: dict[str, Any] = {"bias": any(name.startswith("bias") for name in group), "dtype": dtype}
    if cell.startswith("rnn"):
        options["nonlinearity"] = cell.removeprefix("rnn-")
    classes: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}
    return _loaded(classes.get(cell, nn.RNNCell)(matrix.shape[1], hidden, **options), group, place)


def _loaded(layer: nn.Module, group: Mapping[str, Array], place: str) -> nn.Module:
    weights = Weights(_OPERATION, place, group)
    for name, value in layer.state_dict().items():
        weights.take(name, value.shape)
    weights.finish()
    layer.load_state_dict(group)
    return layer


def _input_width(group: Mapping[str, Array]) -> int | None:
    for name in ("weight_ih_l0", "weight_ih", "weight"):
        if name in group and group[name].ndim > 0:
            return int(group[name].shape[-1])
    return None


def _output_width(layer: nn.Module, before: int | None) -> int | None:
    if isinstance(layer, RECURRENT):
        return layer.spec.output_size
    if isinstance(layer, nn.Embedding):
        return layer.embedding_dim
    return layer.out_features if isinstance(layer, nn.Linear) else before
