"""The sizes and options of a language model, and which of them go together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rnncore import _core, nn
from rnncore._messages import message
from rnncore.models import output_layer
from rnncore.nn.stack import recurrent_spec

CELLS = ("rnn-tanh", "rnn-relu", "rnn-sigmoid", "lstm", "gru", "gru-reset-before", "mgu", "indrnn")


@dataclass(frozen=True)
class LanguageModelConfig:
    """The sizes and options of a `LanguageModel`; see there."""

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_layers: int
    cell: str
    dropout: float
    tie_weights: bool
    dtype: str
    connection: str = "none"
    variational: bool = False
    weight_drop: float = 0.0
    embedding_dropout: float = 0.0
    activation_penalty: float = 0.0
    temporal_penalty: float = 0.0
    learn_initial_state: bool = False
    init: str = "uniform"
    forget_bias: float | None = None
    init_range: float | None = None
    softmax: str = "full"
    cutoffs: tuple[int, ...] = ()
    div_value: float = 4.0
    samples: int = 1024
    projection_size: int = 0
    narrow_last: bool = False
    input_dropout: float | None = None
    output_dropout: float | None = None
    embedding_range: float | None = None
    layers: tuple[Mapping[str, Any], ...] = ()
    init_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_layers", "embedding_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(message("language model", name, "at least 1", repr(value)))
        if not isinstance(self.projection_size, int) or self.projection_size < 0:
            raise ValueError(message("language model", "projection_size", "0 or more", repr(self.projection_size)))
        if not self.layers and self.cell not in CELLS:
            raise ValueError(message("language model", "cell", " | ".join(CELLS), repr(self.cell)))
        for name in ("dropout", "weight_drop", "embedding_dropout", "input_dropout", "output_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(message("language model", name, "a probability in [0, 1)", str(value)))
        for name in ("activation_penalty", "temporal_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(message("language model", name, "0 or more", str(getattr(self, name))))
        if self.layers and self.narrow_last:
            raise ValueError(message("language model", "narrow_last", "False, as layers say their sizes", "True"))
        output_layer.check_softmax(self)
        self._check_start()
        if self.variational and not any(self.dropouts):
            raise ValueError(message("language model", "variational", "False, as dropout is 0", "True"))
        if self.dtype not in ("float32", "float64"):
            raise ValueError(message("language model", "dtype", "float32 | float64", repr(self.dtype)))
        if self.tie_weights and self.embedding_size != self.head_inputs:
            layer = "projection_size" if self.projection_size else "hidden_size"
            expected = f"embedding_size = {layer} = {self.head_inputs}"
            hint = "tied input and output embeddings have one size; see narrow_last and projection_size"
            raise ValueError(message("language model", "tie_weights", expected, str(self.embedding_size), hint))

    def _check_start(self) -> None:
        for name in ("init_range", "embedding_range"):
            bound = getattr(self, name)
            if bound is not None and not 0 < bound < float("inf"):
                raise ValueError(message("language model", name, "above 0", str(bound)))
        if not 0 < self.init_scale < float("inf"):
            raise ValueError(message("language model", "init_scale", "above 0", str(self.init_scale)))
        if self.init_scale != 1 and self.init not in ("identity", "orthogonal"):
            expected = "1, but with init identity or orthogonal"
            raise ValueError(message("language model", "init_scale", expected, str(self.init_scale)))
        if self.init_range is None:
            return
        others = (self.init, self.forget_bias, self.embedding_range)
        if others != ("uniform", None, None):
            got = f"init {self.init}, forget_bias {self.forget_bias}, embedding_range {self.embedding_range}"
            raise ValueError(message("language model", "init_range", "no other start values beside it", got))

    @property
    def layer_sizes(self) -> list[int]:
        """Features of each layer's output: its units, of a projected LSTM proj_size."""
        if self.layers:
            return [layer.get("proj_size") or layer["hidden_size"] for layer in self.layers]
        last = self.embedding_size if self.narrow_last else self.hidden_size
        return [self.hidden_size] * (self.num_layers - 1) + [last]

    @property
    def dropouts(self) -> tuple[float, float, float]:
        """The probabilities on the stack's input, between its layers and on its output."""
        first = self.dropout if self.input_dropout is None else self.input_dropout
        last = self.dropout if self.output_dropout is None else self.output_dropout
        return first, self.dropout if self.num_layers > 1 else 0.0, last

    @property
    def model_dropout(self) -> float:
        """The one probability on the stack's input and output that a model file has, where it is one for both."""
        first, _, last = self.dropouts
        return first if first == last and not self.variational else 0.0

    @property
    def head_inputs(self) -> int:
        """Features that the softmax reads."""
        return self.projection_size or self.layer_sizes[-1]

    @property
    def is_wired(self) -> bool:
        """Whether the stack is more than a chain of plain layers."""
        plain = (self.connection, self.variational, self.weight_drop, self.learn_initial_state, self.init)
        special = plain != ("none", False, 0.0, False, "uniform") or self.forget_bias is not None
        return special or self.is_mixed or self.cell in ("mgu", "indrnn")

    @property
    def is_mixed(self) -> bool:
        """Whether the layers are not all alike: their states then are no one tensor."""
        return bool(self.layers) or len(set(self.layer_sizes)) > 1

    @cached_property
    def state_parts(self) -> dict[str, tuple[int, int]]:
        """Of a mixed stack: the parts of its state by name, each (A, features) of a tensor (A, N, features)."""
        layers = self.layers or tuple(nn.Layer(self.cell, size).to_json() for size in self.layer_sizes)
        h: dict[str, tuple[int, int]] = {}
        c, past = dict(h), dict(h)
        for k, (layer, size) in enumerate(zip(layers, self.layer_sizes, strict=True)):
            h[f"h_l{k}"] = (1, size)
            if layer["cell"] == "lstm":
                c[f"c_l{k}"] = (1, layer["hidden_size"])
            if layer.get("delays"):
                past[f"past_l{k}"] = (max(layer["delays"]) - 1, size)
        timed = any("period" in layer or "group_periods" in layer.get("options", {}) for layer in layers)
        clock = {"clock": (1, 1)} if timed else {}
        return {**h, **c, **past, **clock}

    def recurrent_spec(self, *, inner: bool = False) -> _core.RecurrentSpec:
        """The engine's description of the stack; `inner`: of the one to be called by `LanguageModel.features`.

        Dropout of the output is left to the latter, since penalties see the output before it; so is what is no
        part of the stack without `variational`.
        """
        first, between, last = self.dropouts
        if self.model_dropout or (inner and not self.variational):
            first = last = 0.0
        last = 0.0 if inner else last
        return recurrent_spec(
            self.embedding_size,
            self.layers or [nn.Layer(self.cell, size) for size in self.layer_sizes],
            dropout=between,
            connection=self.connection,
            input_dropout=first,
            output_dropout=last,
            same_mask=self.variational and any((first, between, last)),
            weight_drop=self.weight_drop,
            learn_initial_state=self.learn_initial_state,
        )


def shape_of(
    layers: Sequence[nn.Layer | Mapping[str, Any]], cell: str | None, hidden_size: int | None, num_layers: int | None
) -> tuple[tuple[Mapping[str, Any], ...], str, int, int]:
    """Layers as in a model file, cell, units and number of layers: those given or their defaults, or those of `layers`.

    Raises:
        ValueError: layers that are none, or one of the others beside them with another value.
    """
    if not layers:
        return (
            (),
            "lstm" if cell is None else cell,
            512 if hidden_size is None else hidden_size,
            3 if num_layers is None else num_layers,
        )
    described = json.loads(_core.recurrent_spec_json(recurrent_spec(1, layers)))["layers"]
    wanted = (described[0]["cell"], described[0]["hidden_size"], len(described))
    given = {"cell": cell, "hidden_size": hidden_size, "num_layers": num_layers}
    for (name, value), own in zip(given.items(), wanted, strict=True):
        if value is not None and value != own:
            hint = "layers say it all"
            raise ValueError(message("language model", name, f"{own!r}, as layers have it, or none", repr(value), hint))
    return tuple(described), *wanted


def describe_stack(config: LanguageModelConfig) -> str:
    """``lstm, 2 x 200``, or ``lstm, 2 x 1150 + 400``, or layer by layer."""
    sizes = config.layer_sizes
    if config.layers:
        known = ("cell", "hidden_size")
        rest = [", ".join(f"{k} {v}" for k, v in layer.items() if k not in known) for layer in config.layers]
        pairs = zip(config.layers, rest, strict=True)
        return "; ".join(f"{layer['cell']} {layer['hidden_size']}" + f" ({more})" * bool(more) for layer, more in pairs)
    if len(set(sizes)) == 1:
        return f"{config.cell}, {len(sizes)} x {sizes[0]}"
    return f"{config.cell}, {len(sizes) - 1} x {sizes[0]} + {sizes[-1]}"


def describe_dropouts(config: LanguageModelConfig) -> str:
    """One number, or those of input, layers and output where they differ."""
    first, between, last = config.dropouts
    if first == last and (config.num_layers == 1 or between == first):
        return f"{first:g}"
    return f"{first:g}/{between:g}/{last:g}"
