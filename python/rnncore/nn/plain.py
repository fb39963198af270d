"""What the modules of plain stacks (RNN, LSTM, GRU, MGU, IndRNN) and of cells share: parameters and the call."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from rnncore import _core
from rnncore._core import Generator, RecurrentSpec, Stream, Tensor
from rnncore._messages import flags, message, real, whole_numbers
from rnncore._tensor import as_tensor
from rnncore.nn import init
from rnncore.nn.layers import check_positive, check_probability
from rnncore.nn.module import Module, Parameter, generator_or_fresh
from rnncore.nn.options import ActivationChoice, activation

# One state kind: (layers * directions, N, H), or one tensor (N, H_k) per layer and direction where sizes differ. Of a
# projected LSTM h has proj_size features in place of H.
State = Tensor | Sequence[Tensor]


def draw_parameters(spec: RecurrentSpec, dtype: str, generator: Generator) -> dict[str, Parameter]:
    """The parameters of a stack by name, each drawn from U(-1/sqrt(H), 1/sqrt(H))."""
    parameters, starts = {}, _core.start_values(spec)
    for name, shape, hidden in spec.parameters():
        parameters[name] = Parameter(_core.empty(shape, dtype))
        if name in starts:
            init.constant_(parameters[name], starts[name])
            continue
        bound = 1.0 / math.sqrt(hidden)
        init.uniform_(parameters[name], -bound, bound, generator=generator)
    return parameters


def set_forget_bias(operation: str, spec: RecurrentSpec, parameters: Mapping[str, Parameter], value: float) -> None:
    """Makes the sum of the two forget-gate biases `value` in every layer and direction."""
    real(operation, "forget_bias", value)
    gates = _core.gate_letters(spec.cell, spec.options)
    if "f" not in gates:
        raise ValueError(f"[{operation}] forget_bias: expected None for a cell without a forget gate, got a number")
    if not spec.bias:
        raise ValueError(f"[{operation}] forget_bias: expected None where bias=False, got a number")
    for name, parameter in parameters.items():
        if name.startswith("bias"):
            hidden = parameter.shape[0] // len(gates)
            start = gates.index("f") * hidden
            parameter.detach()[start : start + hidden] = value if name.startswith("bias_ih") else 0.0


def _hidden_sizes(operation: str, hidden_size: int | Sequence[int], num_layers: int) -> list[int]:
    check_positive(operation, num_layers=num_layers)
    if isinstance(hidden_size, int):
        return [hidden_size] * num_layers
    sizes = whole_numbers(operation, "hidden_size", hidden_size)
    if num_layers not in (1, len(sizes)):
        raise ValueError(
            f"[{operation}] num_layers: expected {len(sizes)}, the number of hidden sizes, got {num_layers}"
        )
    return sizes


def open_stream(
    spec: RecurrentSpec, parameters: list[Tensor], batch: int, embedding: Tensor | None, threads: bool
) -> Stream:
    """A `Stream` of the stack, which reads tokens too where an embedding (V, I) is given."""
    stream = Stream(spec, parameters, batch)
    if embedding is not None:
        stream.set_embedding(embedding)
    stream.use_threads(threads)
    return stream


class _Recurrent(Module):
    """What RNN, LSTM and GRU share."""

    probe: _core.Probe | None = None  # set by `rnncore.inspect.watched` alone: calls then fill it

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: str,
        generator: Generator | None,
        options: dict[str, Any] | None = None,
        proj_size: int = 0,
    ) -> None:
        super().__init__()
        operation = type(self).__name__.lower()
        check_positive(operation, input_size=input_size)
        flags(operation, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
        check_probability(operation, "dropout", dropout)
        sizes = _hidden_sizes(operation, hidden_size, num_layers)
        for size in sizes:
            check_positive(operation, hidden_size=size)
        if dropout > 0 and len(sizes) == 1:
            text = message(operation, "dropout", "0 with one layer", str(dropout), "it acts between layers alone")
            warnings.warn(text, UserWarning, stacklevel=3)  # as PyTorch does
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = len(sizes)
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.dtype = dtype
        self.generator = generator_or_fresh(generator)
        self.spec = RecurrentSpec(
            cell, input_size, sizes, bias=bias, bidirectional=bidirectional, dropout=dropout, options=options,
            proj_size=proj_size,
        )  # fmt: skip
        parameters = draw_parameters(self.spec, dtype, self.generator)
        self._names = list(parameters)
        vars(self).update(parameters)

    def _parameters(self) -> list[Tensor]:
        own = vars(self)
        return [own[name] for name in self._names]

    def _run(
        self,
        input: Tensor,
        h_0: State | None,
        c_0: State | None,
        lengths: Any,
        reset_mask: Any,
        generator: Generator | None,
        embedding: Tensor | None,
    ) -> tuple[Tensor, Any, Any]:
        x = as_tensor(input)
        axes = 3 if embedding is None else 2
        batched = x.ndim == axes
        if not batched and x.ndim != axes - 1:
            lead, last = "N, T" if self.batch_first else "T, N", ", I" if embedding is None else ""
            single = "(T, I)" if embedding is None else "(T,)"
            operation = type(self).__name__.lower()
            raise ValueError(f"[{operation}] input: expected shape ({lead}{last}) or {single}, got {x.shape}")
        if not batched:
            x, h_0, c_0 = x.unsqueeze(1), _with_batch(h_0), _with_batch(c_0)
            reset_mask = None if reset_mask is None else as_tensor(reset_mask).unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
            reset_mask = None if reset_mask is None else as_tensor(reset_mask).transpose(0, 1)
        output, h_n, c_n = _core.recurrent(
            self.spec,
            self._parameters(),
            x,
            h_0,
            c_0,
            lengths,
            reset_mask,
            self.training,
            generator or self.generator,
            embedding,
            self.probe,
        )
        if not batched:
            return output.squeeze(1), _without_batch(h_n), _without_batch(c_n)
        return output.transpose(0, 1) if self.batch_first else output, h_n, c_n

    def stream(self, batch: int = 1, *, embedding: Tensor | None = None, threads: bool = False) -> Stream:
        """One step at a time, with the bits of the sequence; parameters are copied (not bidirectional).

        Args:
            batch: N, parallel sequences.
            embedding: a table (V, I): step() then also takes int64 ids (N,) for rows of it.
            threads: whether a step may use several threads.

        Returns:
            A `Stream`: ``step(x, out=None)`` with arrays (N, I) -> (N, H), ``reset()``, ``state``, ``set_state(h, c)``.
        """
        return open_stream(self.spec, self._parameters(), batch, embedding, threads)

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, cell={self.spec.cell!r}"]
        parts += [f"{name}={value!r}" for name, value in (self.spec.options or {}).items()]
        parts += [f"proj_size={self.spec.proj_size}"] if self.spec.proj_size else []
        for name, default in (("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False)):
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join(parts)


class _OneState(_Recurrent):
    """Stacks of cells whose state is h alone."""

    def forward(
        self,
        input: Tensor,
        hx: State | None = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        generator: Generator | None = None,
        embedding: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        output, h_n, _ = self._run(input, hx, None, lengths, reset_mask, generator, embedding)
        return output, h_n


def _with_batch(state: State | None) -> State | None:
    if state is None:
        return None
    if isinstance(state, (list, tuple)):
        return [as_tensor(part).unsqueeze(0) for part in state]
    return as_tensor(state).unsqueeze(1)


def _without_batch(state: Any) -> Any:
    if state is None:
        return None
    return tuple(part.squeeze(0) for part in state) if isinstance(state, tuple) else state.squeeze(1)


_ARGUMENTS = """
    Args:
        input_size: I, features of the input.
        hidden_size: H, units of every layer; or a sequence with the size of each layer, bottom first.
        num_layers: Layers L, each fed by the one below. Default: 1.
        bias: Whether there are bias_ih and bias_hh. Default: True.
        batch_first: Whether input, output and reset_mask are (N, T, ...). States never are. Default: False.
        dropout: Probability in [0, 1) between layers, in training. Default: 0.
        bidirectional: Whether a second network reads backwards; outputs are concatenated (D = 2). Default: False.
        dtype: "float32" (default) or "float64".
        generator: Draws the initial values U(-1/sqrt(H), 1/sqrt(H)), then the dropout masks.
"""

_REGULARISERS = """\
        zoneout: In training each unit keeps its old h with this probability (Krueger et al. 2017); in inference, that
            part of it. Default: 0.
        state_dropout: In training, dropout of h on its way into W_hh, one mask for all steps of a sequence (Gal &
            Ghahramani 2016). Default: 0.
"""

_CALL = """
    Call with input (T, N, I), or (T, I) for one sequence, and optionally
        the initial state (zeros by default), each (L*D, N, H) or (L*D, H);
        lengths: N integers; steps at and after a sequence's length leave its state alone and output zeros;
        reset_mask: (T, N); nonzero where a new sequence starts: the state before that step is the initial one;
        generator: for this call's dropout masks;
        embedding: a table (V, I); input is then ids (T, N) or (T,) and stands for embedding[input], at a fraction of
        the work where V < T*N.
    Returns (output (T, N, D*H), final state as PyTorch returns it). Where layers differ in size, a state is a tuple
    of L*D tensors (N, H_k).

    Raises ValueError or TypeError naming argument, expected and given shape or dtype.
"""


def elman_cell(nonlinearity: ActivationChoice) -> tuple[str, dict[str, ActivationChoice]]:
    """The engine's Elman cell for a nonlinearity, and the activations to give it."""
    activation("rnn", "nonlinearity", nonlinearity)
    if nonlinearity in ("tanh", "relu", "sigmoid"):
        return f"rnn-{nonlinearity}", {}
    return "rnn", {"candidate": nonlinearity}


def state_pair(operation: str, hx: Any) -> tuple[Any, Any]:
    """(h, c), or (None, None) for no state."""
    if hx is None:
        return None, None
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise TypeError(f"[{operation}] hx: expected a pair (h_0, c_0), got {type(hx).__name__}")
    return hx[0], hx[1]
