"""From the JSON files of real-time audio engines: a list of layers as Keras has them, with nested lists of weights.

{"in_shape": [null, null, 1],
"layers": [{"type": "lstm", "activation": "", "shape": [null, null, 8], "weights": [kernel, recurrent, bias]},
{"type": "dense", "activation": "", "shape": [null, null, 1], "weights": [kernel, bias]}]}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnncore.convert._errors import ConversionError, refusal
from rnncore.convert._keras_files import KerasFile, parse_json
from rnncore.convert._keras_layers import build
from rnncore.convert._weights import Array, Weights
from rnncore.convert.graph import FAULTS, Graph, Node, Port

_OPERATION = "from_json"
# Its type: the class of Keras, and what the weights are.
_TYPES = {
    "lstm": ("LSTM", ("kernel", "recurrent_kernel", "bias")),
    "gru": ("GRU", ("kernel", "recurrent_kernel", "bias")),
    "dense": ("Dense", ("kernel", "bias")),
    "time-distributed-dense": ("Dense", ("kernel", "bias")),
    "activation": ("Activation", ()),
}


def from_json(path: str | os.PathLike[str]) -> Graph:
    """The model of a JSON file as real-time audio engines read it: LSTM, GRU, dense layers and activations.

    Returns:
        A `Graph` over (N, T, F); recurrent layers keep their time axis, as these engines run sample by sample.

    Raises:
        ConversionError: naming file and layer: an unknown type or activation, weights of wrong shapes or number.
    """
    origin = str(Path(path))
    model = parse_json(_OPERATION, origin, Path(path).read_bytes())
    try:
        return _graph(origin, model)
    except ConversionError:
        raise
    except FAULTS as error:
        raise refusal(_OPERATION, origin, "a model of layers", " ".join(str(error).split())) from error


def _graph(origin: str, model: Any) -> Graph:
    if not isinstance(model, Mapping) or not isinstance(model.get("layers"), list) or not model["layers"]:
        raise refusal(_OPERATION, origin, 'an object with "layers"', type(model).__name__)
    width = _last(model.get("in_shape"), f"{origin}: in_shape")
    nodes: list[Node] = []
    graph = Graph(origin, [Port("input", "float32", (None, None, width))], [], {})
    value = "input"
    for index, entry in enumerate(model["layers"]):
        kind = entry.get("type") if isinstance(entry, Mapping) else None
        place = f"{origin}: layer {index} ({kind})"
        if kind not in _TYPES:
            raise refusal(_OPERATION, place, f"a type of {list(_TYPES)}", repr(kind))
        name = f"{kind}_{index}"
        units = _last(entry.get("shape"), f"{place}: shape")
        layer = _layer(entry, kind, name, place, width, units)
        for module in layer.modules.values():
            graph.layers.put(name, module)
        nodes.append(Node(name, kind, [value], [name], _without_masks(layer.function), plain=layer.plain))
        value, width = name, units
    graph.nodes = nodes
    graph.outputs = [value]
    return graph


def _layer(entry: Any, kind: str, name: str, place: str, width: int, units: int) -> Any:
    class_name, roles = _TYPES[kind]
    arrays = entry.get("weights", [])
    if not isinstance(arrays, list) or len(arrays) > len(roles):
        raise refusal(_OPERATION, place, f"weights {', '.join(roles) or 'none'}", f"{len(arrays)} arrays")
    values = {f"{name}/{role}": _array(one, f"{place}: {role}") for role, one in zip(roles, arrays, strict=False)}
    weights = Weights(_OPERATION, place, values)
    weights.expect(f"{name}/kernel", (width, None))
    file = KerasFile(place, None, "3", weights, {name: [f"{name}/{role}" for role in roles]})
    given = entry.get("activation", "") or "linear"
    config: dict[str, Any] = {"name": name}
    if class_name in ("LSTM", "GRU"):
        if given not in ("linear", "tanh"):  # these engines have the usual functions whatever stands here
            raise refusal(_OPERATION, place, "activation tanh", repr(given))
        config.update(units=units, return_sequences=True)
        if class_name == "GRU":
            config["reset_after"] = values.get(f"{name}/bias", np.zeros((2, 1))).ndim == 2
    else:
        config["activation"] = given
        if class_name == "Dense":
            config.update(units=units, use_bias=len(arrays) > 1)
    try:
        layer = build(file, class_name, config, name)
    except ConversionError:
        raise
    except FAULTS as error:
        raise refusal(_OPERATION, place, "a layer that can be expressed", " ".join(str(error).split())) from None
    weights.finish()
    if class_name == "Activation" and units != width:
        raise refusal(_OPERATION, place, f"shape {width}, as the layer before gives", str(units))
    return layer


def _without_masks(function: Any) -> Any:
    return lambda values: function(values, [None], None)[0]


def _last(shape: Any, place: str) -> int:
    size = shape[-1] if isinstance(shape, list) and shape else None
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise refusal(_OPERATION, place, "a shape that ends in a positive size", repr(shape))
    return size


def _array(value: Any, place: str) -> Array:
    try:
        array = np.asarray(value, np.float64)
    except (ValueError, TypeError) as error:
        raise refusal(_OPERATION, place, "nested lists of numbers", str(error)) from None
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        raise refusal(_OPERATION, place, "finite numbers", "others")
    return single
