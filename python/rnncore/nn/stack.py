"""Stacks of any wiring: `Layer` says what a layer is, `Recurrent` holds a whole stack's parameters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnncore import _core
from rnncore._core import Generator, RecurrentSpec, Stream, Tensor
from rnncore._messages import message, whole_numbers
from rnncore._tensor import as_tensor
from rnncore.nn import init
from rnncore.nn.module import Module, Parameter, generator_or_fresh
from rnncore.nn.options import check_finite
from rnncore.nn.plain import open_stream

_STACK_DEFAULTS: dict[str, Any] = {
    "merge": "concat",
    "reverse": False,
    "connection": "none",
    "input_dropout": 0.0,
    "output_dropout": 0.0,
    "same_mask": False,
    "weight_drop": 0.0,
    "learn_initial_state": False,
}


@dataclass(frozen=True)
class Layer:
    """One layer of a stack.

    Args:
        cell: "lstm", "gru", "gru-reset-before", "rnn-tanh", "rnn-relu", "rnn-sigmoid", ... (docs/cells.md).
        hidden_size: H, its units.
        delays: numbers of steps d of at least 2, ascending: h_(t-d) enters the gates beside x_t, with weights of its
            own, ``weight_delay_l{k}_d{d}`` (G*H, H). Default: none.
        period: the layer runs at steps 0, m, 2m, ... of a sequence and holds its output in between. Default: 1.
        options: what differs from the plain cell, as in a model file. Default: nothing.
        proj_size: P of a projected LSTM, as `LSTM` has it: h has P features, c has H. Default: 0, none.
        group_periods: clockwork groups (Koutnik et al. 2014): as many groups of H / len(group_periods) units; group i
            runs at steps t with t % group_periods[i] == 0 and sees groups as slow as itself or slower. Ascending.
            Default: none.
    """

    cell: str
    hidden_size: int
    delays: Sequence[int] = ()
    period: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    proj_size: int = 0
    group_periods: Sequence[int] = ()

    def __post_init__(self) -> None:
        for name in ("delays", "group_periods"):
            whole_numbers("layer", name, getattr(self, name))
        if not isinstance(self.options, Mapping):
            raise TypeError(message("layer", "options", "a dict", repr(self.options)))

    def to_json(self) -> dict[str, Any]:
        """The layer as in a model file: keys that differ from the default."""
        result: dict[str, Any] = {"cell": self.cell, "hidden_size": self.hidden_size}
        options = dict(self.options)
        if len(self.group_periods):
            options["group_periods"] = whole_numbers("layer", "group_periods", self.group_periods)
        if options:
            result["options"] = options
        if len(self.delays):
            result["delays"] = whole_numbers("layer", "delays", self.delays)
        if self.period != 1:
            result["period"] = self.period
        if self.proj_size != 0:
            result["proj_size"] = self.proj_size
        return result


def recurrent_spec(
    input_size: int,
    layers: Sequence[Layer | Mapping[str, Any]],
    *,
    bias: bool = True,
    bidirectional: bool = False,
    dropout: float = 0.0,
    **options: Any,
) -> RecurrentSpec:
    """The engine's description of a stack; see `Recurrent` for the options."""
    unknown = set(options) - set(_STACK_DEFAULTS)
    if unknown:
        raise TypeError(f"[recurrent] unknown options: {', '.join(sorted(unknown))}")
    if isinstance(layers, str | Mapping | Layer) or not all(
        isinstance(one, Layer | Mapping) for one in _listed(layers)
    ):
        raise TypeError(message("recurrent", "layers", "a sequence of nn.Layer, or of dicts", repr(layers)))
    text = {
        "input_size": input_size,
        "layers": [layer.to_json() if isinstance(layer, Layer) else dict(layer) for layer in layers],
        "bias": bias,
        "bidirectional": bidirectional,
        "dropout": dropout,
        **{name: value for name, value in options.items() if value != _STACK_DEFAULTS[name]},
    }
    check_finite("recurrent", text)
    return _core.recurrent_spec(json.dumps(text, default=_plain))


def _listed(values: Any) -> Iterable[Any]:
    return values if isinstance(values, Iterable) else (values,)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(message("recurrent", "layers", "numbers, strings, lists and dicts", repr(value)))


class State(dict[str, Tensor]):
    """A stack's state: one tensor per name.

    ``h_l{k}`` and ``c_l{k}`` (N, H_k), ``past_l{k}`` (d_max - 1, N, H_k) where a layer has delays (h of two steps ago,
    three steps ago, ...), each with ``_reverse`` for the second direction; ``clock`` (N,) where layers or groups have
    periods. Of a projected LSTM h and past have proj_size features in place of H_k.
    """

    def detach(self) -> State:
        """Without history: the next chunk's gradient stops here."""
        return State({name: value.detach() for name, value in self.items()})


class Recurrent(Module):
    """A stack of recurrent layers of any cells, sizes and wiring, in one pass of the engine.

    Args:
        input_size: I, features of the input.
        layers: `Layer`s (or dicts with their fields), bottom first.
        bias: Whether there are bias_ih and bias_hh. Default: True.
        batch_first: Whether input, output and reset_mask are (N, T, ...). Default: False.
        bidirectional: Whether a second network reads backwards. Default: False.
        merge: What becomes of the two outputs: "concat" (default), "sum" or "mean".
        reverse: Whether the one direction goes from the last step to the first; outputs stay in the order of time.
        connection: Between layers: "none" (default); "residual", y = f(x) + x; "highway", y = t f(x) + (1 - t) x with
            t = sigmoid(W x + b) (Srivastava et al. 2015); "dense", each layer reads the input and all outputs below.
        dropout: Probability between layers, in training. Default: 0.
        input_dropout: The same on the stack's input. Default: 0.
        output_dropout: The same on its output. Default: 0.
        same_mask: One mask for all steps of a sequence (Gal & Ghahramani 2016). Default: False.
        weight_drop: Probability on weight_hh, in training (DropConnect; Merity et al. 2018). Default: 0.
        learn_initial_state: Parameters ``h_0_l{k}``, ``c_0_l{k}`` (H), where no state is given and at resets.
        init: "uniform" (default, U(-1/sqrt(H), 1/sqrt(H))), "xavier", "he", "orthogonal" or "identity"; see
            `init.stack_`.
        scale: Of the recurrent weights with "orthogonal" and "identity". Default: 1.
        forget_bias: Start value of LSTMs' forget gates (Jozefowicz et al. 2015). Default: None, drawn like the rest.
        chrono: Longest dependency expected, in steps: gate biases after Tallec & Ollivier 2018. Default: None.
        dtype: "float32" (default) or "float64".
        generator: Draws the initial values, then the dropout masks.

    Call with input (T, N, I) and optionally `state` (a `State`, or a dict with some of its names; what is missing is
    the initial state), and `lengths`, `reset_mask`, `generator`, `embedding` as `LSTM`.
    Returns (output (T, N, O), State).

    >>> import rnncore
    >>> stack = Recurrent(3, [Layer("gru", 4, delays=(2, 5)), Layer("lstm", 6, period=2)], connection="residual")
    >>> output, state = stack(rnncore.zeros(7, 2, 3))
    >>> output.shape, sorted(state)
    ((7, 2, 6), ['c_l1', 'clock', 'h_l0', 'h_l1', 'past_l0'])
    """

    probe: _core.Probe | None = None  # set by `rnncore.inspect.watched` alone: calls then fill it

    def __init__(
        self,
        input_size: int,
        layers: Sequence[Layer | Mapping[str, Any]],
        *,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        merge: str = "concat",
        reverse: bool = False,
        connection: str = "none",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        same_mask: bool = False,
        weight_drop: float = 0.0,
        learn_initial_state: bool = False,
        init: str = "uniform",
        scale: float = 1.0,
        forget_bias: float | None = None,
        chrono: float | None = None,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        spec = recurrent_spec(
            input_size, layers, bias=bias, bidirectional=bidirectional, dropout=dropout, merge=merge, reverse=reverse,
            connection=connection, input_dropout=input_dropout, output_dropout=output_dropout, same_mask=same_mask,
            weight_drop=weight_drop, learn_initial_state=learn_initial_state,
        )  # fmt: skip
        self.build(
            spec, batch_first=batch_first, init=init, scale=scale, forget_bias=forget_bias, chrono=chrono, dtype=dtype,
            generator=generator,
        )  # fmt: skip

    def build(
        self,
        spec: RecurrentSpec,
        *,
        batch_first: bool = False,
        init: str = "uniform",
        scale: float = 1.0,
        forget_bias: float | None = None,
        chrono: float | None = None,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        """Makes the module the holder of a specification's parameters."""
        self.spec = spec
        self.batch_first = batch_first
        self.dtype = dtype
        self.generator = generator_or_fresh(generator)
        parameters = {name: Parameter(_core.empty(shape, dtype)) for name, shape, _ in self.spec.parameters()}
        initialise(
            self.spec, parameters, init, scale=scale, forget_bias=forget_bias, chrono=chrono, generator=self.generator
        )
        self._names = list(parameters)
        vars(self).update(parameters)

    @property
    def output_size(self) -> int:
        """O, features of the output."""
        return self.spec.output_size

    def _parameters(self) -> list[Tensor]:
        own = vars(self)
        return [own[name] for name in self._names]

    def forward(
        self,
        input: Tensor,
        state: Mapping[str, Tensor] | None = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        generator: Generator | None = None,
        embedding: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        x = as_tensor(input)
        axes = 3 if embedding is None else 2
        if x.ndim != axes:
            raise ValueError(
                f"[recurrent] input: expected shape {'(T, N, I)' if axes == 3 else '(T, N)'}"
                f"{' with batch_first the other way round' if self.batch_first else ''}, got {x.shape}"
            )
        mask = None if reset_mask is None else as_tensor(reset_mask)
        if self.batch_first:
            x = x.transpose(0, 1)
            mask = None if mask is None else mask.transpose(0, 1)
        output, after = _core.recurrent_with_state(
            self.spec,
            self._parameters(),
            x,
            None if state is None else dict(state),
            lengths,
            mask,
            self.training,
            generator or self.generator,
            embedding,
            self.probe,
        )
        return output.transpose(0, 1) if self.batch_first else output, State(after)

    def stream(self, batch: int = 1, *, embedding: Tensor | None = None, threads: bool = False) -> Stream:
        """One step at a time with the present parameters (forward only); arguments as in `nn.LSTM.stream`."""
        return open_stream(self.spec, self._parameters(), batch, embedding, threads)

    def extra_repr(self) -> str:
        return _core.recurrent_spec_json(self.spec)


def initialise(
    spec: RecurrentSpec,
    parameters: Mapping[str, Parameter],
    start: str = "uniform",
    *,
    scale: float = 1.0,
    forget_bias: float | None = None,
    chrono: float | None = None,
    generator: Generator,
) -> None:
    """Start values of a stack's parameters: `init.stack_`, then gate biases, then what starts from one value."""
    layers = json.loads(_core.recurrent_spec_json(spec))["layers"]
    gates = [_core.gate_letters(layer["cell"], layer.get("options")) for layer in layers]
    init.stack_(parameters, gates, start, scale=scale, generator=generator)
    if forget_bias is not None or chrono is not None:
        init.gate_biases_(parameters, gates, forget_bias=forget_bias, chrono=chrono, generator=generator)
    for name, value in _core.start_values(spec).items():
        init.constant_(parameters[name], value)
