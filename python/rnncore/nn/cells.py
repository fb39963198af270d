"""RNNCell, LSTMCell, GRUCell, MGUCell and IndRNNCell: one step of one layer, on the engine of the whole sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnncore import _core
from rnncore._core import Generator, RecurrentSpec, Tensor
from rnncore._messages import flags
from rnncore._tensor import as_tensor
from rnncore.nn.layers import check_positive
from rnncore.nn.module import Module, generator_or_fresh
from rnncore.nn.options import ActivationChoice, cell_options
from rnncore.nn.plain import draw_parameters, elman_cell, set_forget_bias, state_pair


class _Cell(Module):
    """What the cells share: parameters weight_ih, weight_hh, bias_ih, bias_hh, ... and a step of length 1."""

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        bias: bool,
        dtype: str,
        generator: Generator | None,
        options: dict[str, Any] | None = None,
        proj_size: int = 0,
    ) -> None:
        super().__init__()
        check_positive(type(self).__name__.lower(), input_size=input_size, hidden_size=hidden_size)
        flags(type(self).__name__.lower(), bias=bias)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.generator = generator_or_fresh(generator)
        self.spec = RecurrentSpec(cell, input_size, [hidden_size], bias=bias, options=options, proj_size=proj_size)
        drawn = draw_parameters(self.spec, dtype, self.generator)
        parameters = {name.removesuffix("_l0"): value for name, value in drawn.items()}
        self._names = list(parameters)
        vars(self).update(parameters)

    def _step(self, input: Tensor, h: Tensor | None, c: Tensor | None) -> tuple[Tensor, Any]:
        x = as_tensor(input)
        if x.ndim not in (1, 2):
            raise ValueError(f"[{type(self).__name__.lower()}] input: expected shape (N, I) or (I,), got {x.shape}")
        batch = x.shape[0] if x.ndim == 2 else 1
        own = vars(self)
        _, h_n, c_n = _core.recurrent(
            self.spec,
            [own[name] for name in self._names],
            x.reshape(1, batch, x.shape[-1]),
            self._stacked("h", h, batch, self.spec.output_size),
            self._stacked("c", c, batch, self.hidden_size),
            training=self.training,
            generator=self.generator,
        )
        lead = (batch,) if x.ndim == 2 else ()
        c = None if c_n is None else c_n.reshape((*lead, self.hidden_size))
        return h_n.reshape((*lead, self.spec.output_size)), c

    def _stacked(self, name: str, state: Any, batch: int, width: int) -> Tensor | None:
        if state is None:
            return None
        value = as_tensor(state)
        if value.shape not in ((batch, width), (width,)) or value.numel() != batch * width:
            size = "H" if width == self.hidden_size else "P"
            raise ValueError(
                f"[{type(self).__name__.lower()}] {name}: expected shape (N, {size}) = {(batch, width)}, "
                f"got {value.shape}"
            )
        return value.reshape(1, batch, width)

    def extra_repr(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in (self.spec.options or {}).items())
        projection = f", proj_size={self.spec.proj_size}" if self.spec.proj_size else ""
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias}{options}{projection}"


class _OneStateCell(_Cell):
    """Cells whose state is h alone."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, hx, None)[0]


class RNNCell(_OneStateCell):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        input_size: I.
        hidden_size: H.
        bias: Whether there are biases. Default: True.
        nonlinearity: "tanh" (default), "relu", "sigmoid" or another activation, as RNN takes it.
        clip, layer_norm, leak: As RNN.
        zoneout: As RNN; in training each call draws its mask from the generator.
        dtype: "float32" (default) or "float64".
        generator: For the initial values U(-1/sqrt(H), 1/sqrt(H)), then for zoneout's masks.

    Call: input (N, I) or (I,), h (N, H) or (H,), zeros by default. Returns h'. Steps that follow one another are the
    sequence of the module without "Cell", bit for bit; `state_dropout`, one mask for all steps of a sequence, is that
    module's alone. Parameters have its names without "_l0".

    >>> import rnncore
    >>> RNNCell(3, 5)(rnncore.zeros(2, 3)).shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: ActivationChoice = "tanh",
        *,
        clip: float = 0.0,
        layer_norm: bool = False,
        leak: float = 1.0,
        zoneout: float = 0.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        cell, chosen = elman_cell(nonlinearity)
        options = cell_options("rnncell", chosen, zoneout, clip=clip, layer_norm=layer_norm, leak=leak)
        super().__init__(cell, input_size, hidden_size, bias, dtype, generator, options)
        self.nonlinearity = nonlinearity


class LSTMCell(_Cell):
    """One step of an LSTM; arguments as RNNCell and LSTM. Takes and returns a pair (h, c).

    >>> import rnncore
    >>> h, c = LSTMCell(3, 5, peephole=True)(rnncore.zeros(2, 3))
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        proj_size: int = 0,
        peephole: bool = False,
        coupled: bool = False,
        forget_gate: bool = True,
        truncate_gates: bool = False,
        clip: float = 0.0,
        activations: Mapping[str, ActivationChoice] | None = None,
        layer_norm: bool = False,
        zoneout: float | tuple[float, float] = 0.0,
        forget_bias: float | None = None,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        options = cell_options(
            "lstmcell", activations, zoneout, peephole=peephole, coupled=coupled, forget_gate=forget_gate,
            truncate_gates=truncate_gates, clip=clip, layer_norm=layer_norm,
        )  # fmt: skip
        super().__init__("lstm", input_size, hidden_size, bias, dtype, generator, options, proj_size)
        self.proj_size = proj_size
        if forget_bias is not None:
            set_forget_bias("lstmcell", self.spec, dict(self.named_parameters()), forget_bias)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self._step(input, *state_pair("lstmcell", hx))


class GRUCell(_OneStateCell):
    """One step of a GRU; arguments as RNNCell and GRU.

    >>> import rnncore
    >>> GRUCell(3, 5)(rnncore.zeros(2, 3)).shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        clip: float = 0.0,
        activations: Mapping[str, ActivationChoice] | None = None,
        layer_norm: bool = False,
        zoneout: float = 0.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        cell = "gru" if reset_after else "gru-reset-before"
        options = cell_options("grucell", activations, zoneout, clip=clip, layer_norm=layer_norm)
        super().__init__(cell, input_size, hidden_size, bias, dtype, generator, options)
        self.reset_after = reset_after


class MGUCell(_OneStateCell):
    """One step of a minimal gated unit; arguments as RNNCell and MGU.

    >>> import rnncore
    >>> MGUCell(3, 5)(rnncore.zeros(2, 3)).shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        clip: float = 0.0,
        activations: Mapping[str, ActivationChoice] | None = None,
        layer_norm: bool = False,
        zoneout: float = 0.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        options = cell_options("mgucell", activations, zoneout, clip=clip, layer_norm=layer_norm)
        super().__init__("mgu", input_size, hidden_size, bias, dtype, generator, options)


class IndRNNCell(_OneStateCell):
    """One step of an IndRNN; arguments as RNNCell and IndRNN.

    >>> import rnncore
    >>> IndRNNCell(3, 5)(rnncore.zeros(2, 3)).shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: ActivationChoice = "relu",
        *,
        clip: float = 0.0,
        layer_norm: bool = False,
        zoneout: float = 0.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        chosen = {} if nonlinearity == "relu" else {"candidate": nonlinearity}
        options = cell_options("indrnncell", chosen, zoneout, clip=clip, layer_norm=layer_norm)
        super().__init__("indrnn", input_size, hidden_size, bias, dtype, generator, options)
        self.nonlinearity = nonlinearity
