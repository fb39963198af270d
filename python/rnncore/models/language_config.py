"""The sizes and options of a language model, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass

from rnncore import _core, nn
from rnncore._messages import message
from rnncore.models import output_layer
from rnncore.nn.stack import recurrent_spec

CELLS = ("rnn-tanh", "rnn-relu", "rnn-sigmoid", "lstm", "gru", "gru-reset-before")


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

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_layers", "embedding_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(message("language model", name, "at least 1", repr(value)))
        if not isinstance(self.projection_size, int) or self.projection_size < 0:
            raise ValueError(message("language model", "projection_size", "0 or more", repr(self.projection_size)))
        if self.cell not in CELLS:
            raise ValueError(message("language model", "cell", " | ".join(CELLS), repr(self.cell)))
        for name in ("dropout", "weight_drop", "embedding_dropout", "input_dropout", "output_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(message("language model", name, "a probability in [0, 1)", str(value)))
        for name in ("activation_penalty", "temporal_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(message("language model", name, "0 or more", str(getattr(self, name))))
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
        if self.init_range is None:
            return
        others = (self.init, self.forget_bias, self.embedding_range)
        if others != ("uniform", None, None):
            got = f"init {self.init}, forget_bias {self.forget_bias}, embedding_range {self.embedding_range}"
            raise ValueError(message("language model", "init_range", "no other start values beside it", got))

    @property
    def layer_sizes(self) -> list[int]:
        """Units of each layer."""
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
        return special or len(set(self.layer_sizes)) > 1

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
            [nn.Layer(self.cell, size) for size in self.layer_sizes],
            dropout=between,
            connection=self.connection,
            input_dropout=first,
            output_dropout=last,
            same_mask=self.variational and any((first, between, last)),
            weight_drop=self.weight_drop,
            learn_initial_state=self.learn_initial_state,
        )
