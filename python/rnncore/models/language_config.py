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

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_layers", "embedding_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(message("language model", name, "at least 1", repr(value)))
        if not isinstance(self.projection_size, int) or self.projection_size < 0:
            raise ValueError(message("language model", "projection_size", "0 or more", repr(self.projection_size)))
        if self.cell not in CELLS:
            raise ValueError(message("language model", "cell", " | ".join(CELLS), repr(self.cell)))
        for name in ("dropout", "weight_drop", "embedding_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(message("language model", name, "a probability in [0, 1)", str(getattr(self, name))))
        for name in ("activation_penalty", "temporal_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(message("language model", name, "0 or more", str(getattr(self, name))))
        output_layer.check_softmax(self)
        if self.init_range is not None:
            self._check_init_range(self.init_range)
        if self.variational and self.dropout == 0:
            raise ValueError(message("language model", "variational", "False, as dropout is 0", "True"))
        if self.dtype not in ("float32", "float64"):
            raise ValueError(message("language model", "dtype", "float32 | float64", repr(self.dtype)))
        if self.tie_weights and self.embedding_size != self.head_inputs:
            layer = "projection_size" if self.projection_size else "hidden_size"
            expected, hint = f"embedding_size = {layer} = {self.head_inputs}", "tied input and output embeddings have one size"
            raise ValueError(message("language model", "tie_weights", expected, str(self.embedding_size), hint))

    def _check_init_range(self, bound: float) -> None:
        if not 0 < bound < float("inf"):
            raise ValueError(message("language model", "init_range", "above 0", str(bound)))
        if self.init != "uniform" or self.forget_bias is not None:
            got = f"init {self.init}, forget_bias {self.forget_bias}"
            raise ValueError(message("language model", "init_range", "no other start values beside it", got))

    @property
    def head_inputs(self) -> int:
        """Features that the softmax reads."""
        return self.projection_size or self.hidden_size

    @property
    def is_wired(self) -> bool:
        """Whether the stack is more than a chain of plain layers."""
        plain = (self.connection, self.variational, self.weight_drop, self.learn_initial_state, self.init)
        return plain != ("none", False, 0.0, False, "uniform") or self.forget_bias is not None

    def recurrent_spec(self) -> _core.RecurrentSpec:
        """The engine's description of the stack."""
        drop = self.dropout if self.variational else 0.0
        return recurrent_spec(
            self.embedding_size,
            [nn.Layer(self.cell, self.hidden_size)] * self.num_layers,
            dropout=self.dropout if self.num_layers > 1 else 0.0,
            connection=self.connection,
            input_dropout=drop,
            output_dropout=drop,
            same_mask=self.variational,
            weight_drop=self.weight_drop,
            learn_initial_state=self.learn_initial_state,
        )
