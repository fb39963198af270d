"""Cells beside PyTorch's three: the minimal gated unit and IndRNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnncore._core import Generator
from rnncore.nn.options import ActivationChoice, cell_options
from rnncore.nn.plain import _ARGUMENTS, _CALL, _REGULARISERS, _OneState


class MGU(_OneState):  # noqa: D101 (shared parts are spliced in)
    __doc__ = f"""Minimal gated unit, h = (1 - f) h_prev + f n, n = tanh(W [f h_prev, x] + b) (Zhou et al. 2016).
{_ARGUMENTS}        clip: If positive, what goes into gate and candidate is clipped to [-clip, clip]. Default: 0.
        activations: {{"gate": f, "candidate": g}}, each a name or (name, alpha, beta). Default: "sigmoid", "tanh".
        layer_norm: As GRU, f in place of r and z. Default: False.
{_REGULARISERS}
    Parameters per layer k (and "_reverse"): weight_ih_l{{k}} (2H, I_k), weight_hh_l{{k}} (2H, H), bias_ih_l{{k}} (2H,),
    bias_hh_l{{k}} (2H,); gate order f n.
{_CALL}
    >>> import rnncore
    >>> output, h_n = MGU(3, 5)(rnncore.zeros(7, 2, 3))
    >>> output.shape, h_n.shape
    ((7, 2, 5), (1, 2, 5))
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
        clip: float = 0.0,
        activations: Mapping[str, ActivationChoice] | None = None,
        layer_norm: bool = False,
        zoneout: float = 0.0,
        state_dropout: float = 0.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__(
            "mgu",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            generator,
            cell_options("mgu", activations, zoneout, clip=clip, layer_norm=layer_norm, state_dropout=state_dropout),
        )


class IndRNN(_OneState):  # noqa: D101 (shared parts are spliced in)
    __doc__ = f"""Independently recurrent network, h = f(W x + b + u h_prev): each unit sees its own past alone
    (Li et al. 2018).
{_ARGUMENTS}        nonlinearity: "relu" (default, as in the paper) or another activation, as RNN takes it.
        clip: If positive, the activation's input is clipped to [-clip, clip]. Default: 0.
        layer_norm: Whether W_ih x is normalised over the units, with the scale norm_weight_ih_l{{k}} (H,) and the bias
            as shift; u h is not, so that a unit still sees its own past alone. Default: False.
        zoneout: As RNN.

    Parameters per layer k (and "_reverse"): weight_ih_l{{k}} (H, I_k), bias_ih_l{{k}} (H,), weight_u_l{{k}} (H,).
{_CALL}
    >>> import rnncore
    >>> output, h_n = IndRNN(3, 5)(rnncore.zeros(7, 2, 3))
    >>> output.shape, h_n.shape
    ((7, 2, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        nonlinearity: ActivationChoice = "relu",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        clip: float = 0.0,
        layer_norm: bool = False,
        zoneout: float = 0.0,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        self.nonlinearity = nonlinearity
        super().__init__(
            "indrnn",
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
                "indrnn",
                {} if nonlinearity == "relu" else {"candidate": nonlinearity},
                zoneout,
                clip=clip,
                layer_norm=layer_norm,
            ),
        )
