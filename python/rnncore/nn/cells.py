"""RNNCell, LSTMCell and GRUCell: one step of one layer, on the same engine as the whole sequences."""

from __future__ import annotations

from typing import Any

from rnncore import _core
from rnncore._core import Generator, RecurrentSpec, Tensor
from rnncore._tensor import as_tensor
from rnncore.nn.layers import check_positive
from rnncore.nn.module import Module, generator_or_fresh
from rnncore.nn.recurrent import cell_of, draw_parameters, set_forget_bias, state_pair


class _Cell(Module):
    """What the cells share: parameters weight_ih, weight_hh, bias_ih, bias_hh and a step of length 1."""

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, bias: bool, dtype: str, generator: Generator | None
    ) -> None:
        super().__init__()
        check_positive(type(self).__name__.lower(), input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.spec = RecurrentSpec(cell, input_size, [hidden_size], bias=bias)
        drawn = draw_parameters(self.spec, dtype, generator_or_fresh(generator))
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
            self._stacked("h", h, batch),
            self._stacked("c", c, batch),
        )
        shape = (batch, self.hidden_size) if x.ndim == 2 else (self.hidden_size,)
        return h_n.reshape(shape), None if c_n is None else c_n.reshape(shape)

    def _stacked(self, name: str, state: Any, batch: int) -> Tensor | None:
        if state is None:
            return None
        value = as_tensor(state)
        if value.shape not in ((batch, self.hidden_size), (self.hidden_size,)) or value.numel() != (
            batch * self.hidden_size
        ):
            raise ValueError(
                f"[{type(self).__name__.lower()}] {name}: expected shape (N, H) = {(batch, self.hidden_size)}, "
                f"got {value.shape}"
            )
        return value.reshape(1, batch, self.hidden_size)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias}"


class RNNCell(_Cell):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        input_size: I.
        hidden_size: H.
        bias: Whether there are biases. Default: True.
        nonlinearity: "tanh" (default), "relu" or "sigmoid".
        dtype: "float32" (default) or "float64".
        generator: For the initial values U(-1/sqrt(H), 1/sqrt(H)).

    Call: input (N, I) or (I,), h (N, H) or (H,), zeros by default. Returns h'.

    >>> import rnncore
    >>> RNNCell(3, 5)(rnncore.zeros(2, 3)).shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__(cell_of(nonlinearity), input_size, hidden_size, bias, dtype, generator)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, hx, None)[0]


class LSTMCell(_Cell):
    """One step of an LSTM; arguments as RNNCell, and forget_bias as LSTM. Takes and returns a pair (h, c).

    >>> import rnncore
    >>> h, c = LSTMCell(3, 5)(rnncore.zeros(2, 3))
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        forget_bias: float | None = None,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__("lstm", input_size, hidden_size, bias, dtype, generator)
        if forget_bias is not None:
            if not bias:
                raise ValueError("[lstmcell] forget_bias: expected None where bias=False, got a number")
            set_forget_bias(self.spec, {name: vars(self)[name] for name in self._names}, forget_bias)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self._step(input, *state_pair("lstmcell", hx))


class GRUCell(_Cell):
    """One step of a GRU; arguments as RNNCell, and reset_after as GRU.

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
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__("gru" if reset_after else "gru-reset-before", input_size, hidden_size, bias, dtype, generator)
        self.reset_after = reset_after

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, hx, None)[0]
