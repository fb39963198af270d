"""RNN, LSTM and GRU over whole sequences: holders of parameters around the engine's `recurrent`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnncore._core import Generator, Tensor
from rnncore.nn.options import ActivationChoice, cell_options
from rnncore.nn.plain import (
    _ARGUMENTS,
    _CALL,
    _REGULARISERS,
    State,
    _OneState,
    _Recurrent,
    elman_cell,
    set_forget_bias,
    state_pair,
)


class RNN(_OneState):  # noqa: D101 (shared parts are spliced in)
    __doc__ = f"""Elman network: h_t = f(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh) (Elman 1990).
{_ARGUMENTS}        nonlinearity: "tanh" (default), "relu", "sigmoid" or another activation, with its numbers:
            "softsign", ("leaky-relu", 0.1), ("scaled-tanh", 1.7, 0.66).
        clip: If positive, the activation's input is clipped to [-clip, clip]. Default: 0.
        layer_norm: Whether W_ih x + W_hh h is normalised over the units (Ba et al. 2016, equation 4), with the scale
            norm_weight_hh_l{{k}} (H,) and the biases as shift. Default: False.
        leak: In (0, 1]: leaky units, h_t = (1 - leak) h_(t-1) + leak f(...) (Jaeger et al. 2007). Default: 1.
{_REGULARISERS}
    Parameters per layer k (and "_reverse"): weight_ih_l{{k}} (H, I_k), weight_hh_l{{k}} (H, H), bias_ih_l{{k}} (H,),
    bias_hh_l{{k}} (H,).
{_CALL}
    >>> import rnncore
    >>> output, h_n = RNN(3, 5, nonlinearity="relu")(rnncore.zeros(7, 2, 3))
    >>> output.shape, h_n.shape
    ((7, 2, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        nonlinearity: ActivationChoice = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        clip: float = 0.0,
        layer_norm: bool = False,
        leak: float = 1.0,
        zoneout: float = 0.0,
        state_dropout: float = 0.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        self.nonlinearity = nonlinearity
        cell, chosen = elman_cell(nonlinearity)
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            generator,
            cell_options(
                "rnn", chosen, zoneout, clip=clip, layer_norm=layer_norm, leak=leak, state_dropout=state_dropout
            ),
        )


class LSTM(_Recurrent):  # noqa: D101 (shared parts are spliced in)
    __doc__ = f"""Long short-term memory with forget gates (Hochreiter & Schmidhuber 1997; Gers et al. 2000).
{_ARGUMENTS}        proj_size: P. If positive, less than H: h_t = W_hr (o * tanh(c_t)), in state, output and on its way
            into W_hh, has P features; c_t keeps H (Sak et al. 2014, equations 11 and 12). Default: 0, no projection.
        peephole: Whether i and f see c_(t-1) and o sees c_t, each unit its own (Gers et al. 2002; Graves 2013).
        coupled: Whether f = 1 - i, without rows of its own (CIFG; Greff et al. 2017).
        forget_gate: False is the cell of 1997, f = 1.
        truncate_gates: Whether errors flow back in time through c alone, as in 1997: an error that reaches a gate
            changes the weights into it and goes no further. The gradient is then not that of the loss.
        clip: If positive, what goes into gates and candidate is clipped to [-clip, clip] (as in ONNX). Default: 0.
        activations: {{"gate": f, "candidate": g, "hidden": h}}, each a name or (name, alpha, beta), as in ONNX: f for
            i, f, o (default "sigmoid"), g for the candidate and h for c_t (default "tanh").
        layer_norm: Whether both products and c_t are normalised inside the step (Ba et al. 2016, equations 20 to 22),
            with norm_weight_ih_l{{k}} and norm_weight_hh_l{{k}} (G*H,), norm_weight_c_l{{k}} and norm_bias_c_l{{k}}
            (H,); bias_ih and bias_hh are the other shifts. Default: False.
        zoneout: In training each unit keeps its old h with this probability (Krueger et al. 2017); in inference, that
            part of it. A pair (of h, of c) zones c too. Default: 0.
        state_dropout: In training, dropout of h on its way into W_hh, one mask for all steps of a sequence (Gal &
            Ghahramani 2016). Default: 0.
        forget_bias: Start value of the forget gate's bias; 1 helps long memories (Jozefowicz et al. 2015).
            Default: None, drawn like the rest.

    Parameters per layer k (and "_reverse"): weight_ih_l{{k}} (4H, I_k), weight_hh_l{{k}} (4H, H), bias_ih_l{{k}} (4H,),
    bias_hh_l{{k}} (4H,); gate order i f g o. Without a forget gate of its own 3H rows, i g o. With peepholes
    weight_peephole_l{{k}} (3, H) in the order i f o, or (2, H), i o. With a projection weight_hr_l{{k}} (P, H), and
    weight_hh_l{{k}} (4H, P). The state is a pair (h, c).
{_CALL}
    >>> import rnncore
    >>> output, (h_n, c_n) = LSTM(3, 5, num_layers=2)(rnncore.zeros(7, 2, 3))
    >>> output.shape, c_n.shape
    ((7, 2, 5), (2, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        peephole: bool = False,
        coupled: bool = False,
        forget_gate: bool = True,
        truncate_gates: bool = False,
        clip: float = 0.0,
        activations: Mapping[str, ActivationChoice] | None = None,
        layer_norm: bool = False,
        zoneout: float | tuple[float, float] = 0.0,
        state_dropout: float = 0.0,
        forget_bias: float | None = None,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__(
            "lstm",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            generator,
            cell_options(
                "lstm",
                activations,
                zoneout,
                peephole=peephole,
                coupled=coupled,
                forget_gate=forget_gate,
                truncate_gates=truncate_gates,
                clip=clip,
                layer_norm=layer_norm,
                state_dropout=state_dropout,
            ),
            proj_size,
        )
        self.proj_size = proj_size
        if forget_bias is not None:
            set_forget_bias("lstm", self.spec, dict(self.named_parameters()), forget_bias)

    def forward(
        self,
        input: Tensor,
        hx: tuple[State, State] | None = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        generator: Generator | None = None,
        embedding: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Any, Any]]:
        h_0, c_0 = state_pair("lstm", hx)
        output, h_n, c_n = self._run(input, h_0, c_0, lengths, reset_mask, generator, embedding)
        return output, (h_n, c_n)


class GRU(_OneState):  # noqa: D101 (shared parts are spliced in)
    __doc__ = f"""Gated recurrent unit, h = (1 - z) n + z h_prev (Cho et al. 2014).
{_ARGUMENTS}        reset_after: Whether r multiplies W_hn h + b_hn (as PyTorch and cuDNN; default) or h itself (the
            original paper).
        clip: If positive, what goes into gates and candidate is clipped to [-clip, clip] (as in ONNX). Default: 0.
        activations: {{"gate": f, "candidate": g}}, each a name or (name, alpha, beta): f for r and z (default
            "sigmoid"), g for n (default "tanh").
        layer_norm: Whether the products are normalised inside the step (Ba et al. 2016, equations 23 to 25): r and z
            together, the candidate's two apart; scales norm_weight_ih_l{{k}} and norm_weight_hh_l{{k}} (3H,).
            Default: False.
{_REGULARISERS}
    Parameters per layer k (and "_reverse"): weight_ih_l{{k}} (3H, I_k), weight_hh_l{{k}} (3H, H), bias_ih_l{{k}} (3H,),
    bias_hh_l{{k}} (3H,); gate order r z n.
{_CALL}
    >>> import rnncore
    >>> output, h_n = GRU(3, 5, bidirectional=True)(rnncore.zeros(7, 2, 3))
    >>> output.shape, h_n.shape
    ((7, 2, 10), (2, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        clip: float = 0.0,
        activations: Mapping[str, ActivationChoice] | None = None,
        layer_norm: bool = False,
        zoneout: float = 0.0,
        state_dropout: float = 0.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__(
            "gru" if reset_after else "gru-reset-before",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            generator,
            cell_options("gru", activations, zoneout, clip=clip, layer_norm=layer_norm, state_dropout=state_dropout),
        )
        self.reset_after = reset_after
