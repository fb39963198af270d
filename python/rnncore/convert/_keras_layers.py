"""Layers of Keras as nodes: each builder reads configuration and weights and gives a function with masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rnncore import _core, nn
from rnncore._core import RecurrentSpec, Tensor
from rnncore.convert._keras_config import Config
from rnncore.convert._keras_files import KerasFile, LayerWeights
from rnncore.convert._keras_recurrent import FAMILIES, MERGES, KerasRecurrent, bidirectional, build_recurrent
from rnncore.convert._onnx_values import off_tape
from rnncore.convert._recurrent import module_of_spec
from rnncore.convert.chain import LastStep
from rnncore.convert.graph import Array, as_array

# (inputs, masks, initial states) -> outputs, one mask for all of them (None: no mask, or not of this kind)
LayerFunction = Callable[[Sequence[Any], Sequence[Array | None], Sequence[Any] | None], tuple[list[Any], Array | None]]


@dataclass
class KerasLayer:
    """A layer ready to be called.

    Args:
        function: What it computes.
        outputs: How many tensors it returns.
        modules: Its layers of `nn` by name, "" for the only one.
        plain: The modules that do the same without masks; None: there are none, or it makes masks.
    """

    function: LayerFunction
    outputs: int = 1
    modules: dict[str, nn.Module] = field(default_factory=dict)
    plain: list[nn.Module] | None = None


@dataclass(frozen=True)
class Context:
    """What builders need besides the configuration: the weights, and the Keras that wrote the file."""

    weights: LayerWeights
    version: str


def _keep(function: Callable[[Any], Any]) -> LayerFunction:
    """Element by element, or along the features: the mask stays."""
    return lambda inputs, masks, states: ([function(inputs[0])], masks[0])


# Activations --------------------------------------------------------------------------------------------


def _off(function: Callable[[Any], Any]) -> Callable[[Tensor], Any]:
    apply = off_tape(function)
    return lambda x: apply([x])[0]


_ACTIVATIONS: dict[str, Callable[[Tensor], Any]] = {
    "linear": lambda x: x,
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "relu": lambda x: x.relu(),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(-1),
    "exponential": lambda x: x.exp(),
    "softplus": _off(lambda x: np.logaddexp(x, x.dtype.type(0))),
    "softsign": lambda x: x / (x.abs() + 1.0),
    "elu": _off(lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x)),
    "leaky_relu": lambda x: x.relu() - (-x).relu() * 0.2,
}


def activation(name: Any, version: str) -> Callable[[Tensor], Any]:
    """The function of Keras' name; None is "linear"."""
    if name == "hard_sigmoid":
        slope = 0.2 if version.startswith("2") else 1 / 6
        return _off(lambda x: np.clip(x * x.dtype.type(slope) + x.dtype.type(0.5), 0, 1))
    name = "linear" if name is None else name
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ValueError(f"activation: expected one of {[*_ACTIVATIONS, 'hard_sigmoid']}, got {name!r}")
    return _ACTIVATIONS[name]


_MODULES: dict[str, Callable[[], list[nn.Module]]] = {
    "linear": list,
    "tanh": lambda: [nn.Tanh()],
    "sigmoid": lambda: [nn.Sigmoid()],
    "relu": lambda: [nn.ReLU()],
    "softmax": lambda: [nn.Softmax()],
    "log_softmax": lambda: [nn.LogSoftmax()],
}


def _plain(*before: nn.Module, name: Any) -> list[nn.Module] | None:
    """Modules and an activation after them."""
    make = _MODULES.get("linear" if name is None else name)
    return None if make is None else [*before, *make()]


def _activation(config: Config, context: Context) -> KerasLayer:
    name = config.take("activation", None)
    return KerasLayer(_keep(activation(name, context.version)), plain=_plain(name=name))


def _relu(config: Config, context: Context) -> KerasLayer:
    if (
        config.take("max_value", None) is not None
        or config.take("threshold", 0.0)
        or config.take("negative_slope", 0.0)
    ):
        raise ValueError("max_value, negative_slope, threshold: expected none, got one")
    return KerasLayer(_keep(_ACTIVATIONS["relu"]), plain=[nn.ReLU()])


def _softmax(config: Config, context: Context) -> KerasLayer:
    axis = config.take("axis", -1)
    return KerasLayer(_keep(lambda x: x.softmax(axis)), plain=[nn.Softmax(axis)])


# Layers with weights ------------------------------------------------------------------------------------


def _dense(config: Config, context: Context, part: str = "") -> KerasLayer:
    units, has_bias = config.size("units"), config.take("use_bias", True)
    name = config.take("activation", "linear")
    function = activation(name, context.version)
    kernel = context.weights.take(part, 0, "kernel", (None, units))
    layer = nn.Linear(kernel.shape[0], units, has_bias, dtype=config.dtype)
    state = {"weight": np.ascontiguousarray(kernel.T)}
    if has_bias:
        state["bias"] = context.weights.take(part, 1, "bias", (units,))
    layer.load_state_dict(state)
    return KerasLayer(_keep(lambda x: function(layer(x))), modules={"": layer}, plain=_plain(layer, name=name))


def _embedding(config: Config, context: Context, part: str = "") -> KerasLayer:
    rows, width = config.size("input_dim"), config.size("output_dim")
    mask_zero = config.take("mask_zero", False)
    table = context.weights.take(part, 0, "embeddings", (rows, width))
    layer = nn.Embedding(rows, width, dtype=config.dtype)
    layer.load_state_dict({"weight": table})

    def apply(inputs: Sequence[Any], masks: Sequence[Any], states: Any) -> tuple[list[Any], Array | None]:
        ids = as_array(inputs[0]).astype(np.int64)
        return [layer(ids)], ids != 0 if mask_zero else None

    return KerasLayer(apply, modules={"": layer}, plain=None if mask_zero else [layer])


def _layer_normalization(config: Config, context: Context, part: str = "") -> KerasLayer:
    axis = config.take("axis", None)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if not isinstance(axis, int) or config.take("rms_scaling", False):
        raise ValueError(f"axis, rms_scaling: expected the last axis and False, got {axis!r}")
    epsilon, scale, center = config.take("epsilon", 1e-3), config.take("scale", True), config.take("center", True)
    gamma = context.weights.take(part, 0, "gamma", (None,)) if scale else None
    beta = context.weights.take(part, 1 if scale else 0, "beta", (None,)) if center else None
    given = gamma if gamma is not None else beta
    if given is None:
        raise ValueError("scale, center: expected at least one of them, got neither")
    layer = nn.LayerNorm(given.shape[0], epsilon, bias=center, dtype=config.dtype)
    state = {"weight": np.ones_like(given) if gamma is None else gamma}
    if beta is not None:
        state["bias"] = beta
    layer.load_state_dict(state)

    def normalise(x: Tensor) -> Tensor:
        if axis not in (-1, x.ndim - 1):
            raise ValueError(f"axis: expected the last of {x.ndim}, got {axis}")
        result: Tensor = layer(x)
        return result

    return KerasLayer(_keep(normalise), modules={"": layer}, plain=[layer])


# Recurrent layers ---------------------------------------------------------------------------------------


def _recurrent(config: Config, context: Context) -> KerasLayer:
    built = build_recurrent(config, context.weights, "cell", None, context.version)

    def apply(inputs: Sequence[Any], masks: Sequence[Any], states: Any) -> tuple[list[Any], Array | None]:
        output, final = built(inputs[0], masks[0], _states(states, built.states))
        return [output, *final] if built.return_state else [output], masks[0] if built.sequences else None

    plain = [built.layer] if built.sequences else [built.layer, LastStep()]
    simple = not built.backwards and not built.return_state
    outputs = 1 + (built.states if built.return_state else 0)
    return KerasLayer(apply, outputs, {"": built.layer}, plain if simple else None)


def _states(states: Sequence[Any] | None, count: int) -> Sequence[Any] | None:
    if states is not None and len(states) != count:
        raise ValueError(f"initial_state: expected {count} tensors, got {len(states)}")
    return states


def _wrapped(config: Any, key: str) -> Config:
    inner = config.take(key, None)
    if not isinstance(inner, dict) or not isinstance(inner.get("class_name"), str):
        raise ValueError(f"{key}: expected a layer, got {inner!r}")
    return Config(inner["class_name"], inner.get("config"))


def _bidirectional(config: Config, context: Context) -> KerasLayer:
    merge = config.take("merge_mode", "concat") if config.take("merge_mode", "concat") is not None else None
    if merge not in MERGES:
        raise ValueError(f"merge_mode: expected one of {MERGES}, got {merge!r}")
    first = _wrapped(config, "layer")
    second = _wrapped(config, "backward_layer") if config.take("backward_layer", None) else _mirrored(config)
    if first.class_name not in FAMILIES or second.class_name not in FAMILIES:
        got = f"{first.class_name}, {second.class_name}"
        raise ValueError(f"layer: expected one of {list(FAMILIES)}, got {got}")
    forward = build_recurrent(first, context.weights, "forward_layer/cell", None, context.version)
    backward = build_recurrent(second, context.weights, "backward_layer/cell", None, context.version)
    for inner in (first, second):
        inner.finish()
    # Keras sets this anew whenever it makes the layer, whatever the file says.
    forward, backward = (replace(one, zeros=one.sequences) for one in (forward, backward))
    if forward.backwards == backward.backwards or forward.sequences != backward.sequences:
        raise ValueError("backward_layer: expected the other direction and the same return_sequences")
    both = bidirectional(forward, backward, merge)
    states = forward.states + backward.states

    def apply(inputs: Sequence[Any], masks: Sequence[Any], given: Any) -> tuple[list[Any], Array | None]:
        outputs, final = both(inputs[0], masks[0], _states(given, states))
        mask = masks[0] if forward.sequences else None
        return [*outputs, *final] if forward.return_state else outputs, mask

    count = (2 if merge is None else 1) + (states if forward.return_state else 0)
    modules = {"forward": forward.layer, "backward": backward.layer}
    return KerasLayer(apply, count, modules, _both(forward, backward) if merge == "concat" and count == 1 else None)


def _both(forward: KerasRecurrent, backward: KerasRecurrent) -> list[nn.Module] | None:
    """Both directions in one layer, where they are alike."""
    one, other = forward.layer, backward.layer
    facts = [(type(x), x.spec.cell, x.spec.options, x.spec.hidden_sizes, x.bias) for x in (one, other)]
    if facts[0] != facts[1] or forward.backwards:
        return None
    spec = RecurrentSpec(
        one.spec.cell, one.input_size, one.spec.hidden_sizes,
        bias=one.bias, bidirectional=True, options=one.spec.options,
    )  # fmt: skip
    both = module_of_spec(spec, one.dtype).eval()
    state = dict(one.state_dict())
    state.update({f"{name}_reverse": value for name, value in other.state_dict().items()})
    both.load_state_dict(state)
    return [both] if forward.sequences else [both, LastStep(2)]


def _mirrored(config: Config) -> Config:
    """The backward layer where the file has none: the forward one the other way round."""
    inner = config.take("layer", None)
    values = dict(inner.get("config") or {})
    values["go_backwards"] = not values.get("go_backwards", False)
    return Config(inner["class_name"], values)


def _time_distributed(config: Config, context: Context) -> KerasLayer:
    inner = _wrapped(config, "layer")
    if inner.class_name not in _DISTRIBUTED:
        raise ValueError(f"layer: expected one of {list(_DISTRIBUTED)}, got {inner.class_name}")
    builder = BUILDERS[inner.class_name]
    has_weights = inner.class_name in ("Dense", "Embedding", "LayerNormalization")
    layer = builder(inner, context, "layer") if has_weights else builder(inner, context)
    inner.finish()
    return KerasLayer(
        lambda inputs, masks, states: (layer.function(inputs, masks, states)[0], masks[0]),
        modules=layer.modules,
        plain=layer.plain,
    )


# Layers without weights ---------------------------------------------------------------------------------


def _identity(config: Config, context: Context) -> KerasLayer:
    return KerasLayer(_keep(lambda x: x), plain=[])


def _masking(config: Config, context: Context) -> KerasLayer:
    value = config.take("mask_value", 0.0)

    def apply(inputs: Sequence[Any], masks: Sequence[Any], states: Any) -> tuple[list[Any], Array | None]:
        x = inputs[0]
        mask = (as_array(x) != value).any(-1)
        return [x * Tensor(mask[..., None].astype(x.dtype))], mask

    return KerasLayer(apply)


def _concatenate(config: Config, context: Context) -> KerasLayer:
    axis = config.take("axis", -1)

    def apply(inputs: Sequence[Any], masks: Sequence[Any], states: Any) -> tuple[list[Any], Array | None]:
        last = inputs[0].ndim - 1
        if any(mask is not None for mask in masks) and axis not in (-1, last):
            raise ValueError(f"axis: expected the last where there are masks, got {axis}")
        return [_core.cat(list(inputs), axis)], _all(masks)

    return KerasLayer(apply)


def _merge(function: Callable[[Any, Any], Any], mean: bool = False) -> Callable[[Config, Context], KerasLayer]:
    def apply(inputs: Sequence[Any], masks: Sequence[Any], states: Any) -> tuple[list[Any], Array | None]:
        total = inputs[0]
        for value in inputs[1:]:
            total = function(total, value)
        return [total / len(inputs) if mean else total], _all(masks) if None not in masks else None

    return lambda config, context: KerasLayer(apply)


def _all(masks: Sequence[Array | None]) -> Array | None:
    given = [mask for mask in masks if mask is not None]
    return np.logical_and.reduce(given) if given else None


_DISTRIBUTED = ("Dense", "Embedding", "LayerNormalization", "Dropout", "Activation")
BUILDERS: dict[str, Callable[..., KerasLayer]] = {
    "Embedding": _embedding,
    "SimpleRNN": _recurrent,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "Bidirectional": _bidirectional,
    "Dense": _dense,
    "TimeDistributed": _time_distributed,
    "Dropout": _identity,
    "SpatialDropout1D": _identity,
    "GaussianNoise": _identity,
    "GaussianDropout": _identity,
    "Masking": _masking,
    "LayerNormalization": _layer_normalization,
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": _softmax,
    "Concatenate": _concatenate,
    "Add": _merge(lambda a, b: a + b),
    "Multiply": _merge(lambda a, b: a * b),
    "Average": _merge(lambda a, b: a + b, mean=True),
}


def build(file: KerasFile, class_name: str, values: Any, name: str) -> KerasLayer:
    """The layer of a configuration, with its weights; ValueError for what is not known."""
    if class_name not in BUILDERS:
        raise ValueError(f"expected one of {list(BUILDERS)}, got {class_name}")
    config = Config(class_name, values)
    _ = config.dtype
    layer = BUILDERS[class_name](config, Context(file.of_layer(class_name, name), file.version))
    config.finish()
    return layer
