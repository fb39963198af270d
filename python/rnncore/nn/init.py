"""Initialisation in place. Each draws from the `generator` passed and returns its tensor.

Matrices are (fan_out, fan_in), as Linear and the recurrent layers keep them. Inside `skipped()` all of them leave their
tensor as it is and draw nothing: a model that is built to be loaded needs no start values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from rnncore import _core
from rnncore._core import Generator, Tensor
from rnncore._grad import no_grad
from rnncore._messages import message, real

_SKIPPED: ContextVar[bool] = ContextVar("skipped", default=False)
_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0)}


@contextmanager
def skipped() -> Iterator[None]:
    """Modules made in this block have parameters of unspecified values, for someone who writes all of them afterwards.

    No generator is advanced. Holds for the calling thread alone.

    >>> from rnncore import nn
    >>> generator = Generator(1)
    >>> with skipped():
    ...     layer = nn.Linear(1000, 1000, generator=generator)
    >>> generator.get_state() == Generator(1).get_state()
    True
    """
    token = _SKIPPED.set(True)
    try:
        yield
    finally:
        _SKIPPED.reset(token)


def calculate_gain(nonlinearity: str) -> float:
    """The recommended gain: linear and sigmoid 1, tanh 5/3, relu sqrt(2)."""
    if nonlinearity not in _GAINS:
        raise ValueError(f"[init] nonlinearity: expected one of {sorted(_GAINS)}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def _fans(operation: str, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim != 2:
        raise ValueError(f"[{operation}] tensor: expected a matrix (fan_out, fan_in), got shape {tensor.shape}")
    return tensor.shape[1], tensor.shape[0]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator) -> Tensor:
    """U[a, b)."""
    if not _SKIPPED.get():
        with no_grad():
            generator.uniform_(tensor, a, b)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator) -> Tensor:
    """N(mean, std^2)."""
    if not _SKIPPED.get():
        with no_grad():
            generator.normal_(tensor, mean, std)
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value."""
    if _SKIPPED.get():
        return tensor
    with no_grad():
        return tensor.fill_(val)


def scale_(tensor: Tensor, factor: float) -> Tensor:
    """The start values times `factor`."""
    if _SKIPPED.get():
        return tensor
    with no_grad():
        return tensor.mul_(factor)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity (Le et al. 2015 start ReLU networks so)."""
    fan_in, fan_out = _fans("eye_", tensor)
    if _SKIPPED.get():
        return tensor
    with no_grad():
        return tensor.copy_(np.eye(fan_out, fan_in))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, generator: Generator) -> Tensor:
    """U(-a, a) with a = gain sqrt(6 / (fan_in + fan_out)); Glorot & Bengio 2010, equation 16."""
    bound = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, generator: Generator) -> Tensor:
    """N(0, 2 gain^2 / (fan_in + fan_out)); Glorot & Bengio 2010."""
    std = gain * math.sqrt(2.0 / sum(_fans("xavier_normal_", tensor)))
    return normal_(tensor, 0.0, std, generator=generator)


def kaiming_uniform_(tensor: Tensor, nonlinearity: str = "relu", *, generator: Generator) -> Tensor:
    """U(-a, a) with a = gain sqrt(3 / fan_in); He et al. 2015, equation 10."""
    fan_in, _ = _fans("kaiming_uniform_", tensor)
    bound = calculate_gain(nonlinearity) * math.sqrt(3.0 / fan_in)
    return uniform_(tensor, -bound, bound, generator=generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, *, generator: Generator) -> Tensor:
    """Orthonormal rows or columns times `gain`; Saxe et al. 2014. QR of a normal matrix, in float64."""
    rows, columns = _fans("orthogonal_", tensor)[::-1]
    if _SKIPPED.get():
        return tensor
    with no_grad():
        return tensor.copy_((_core.orthogonal(rows, columns, generator) * gain).to(tensor.dtype))


def identity_(tensor: Tensor, scale: float = 1.0) -> Tensor:
    """`scale` on the diagonal, zeros beside it; Le, Jaitly & Hinton 2015 (IRNN)."""
    rows, columns = _fans("identity_", tensor)[::-1]
    if _SKIPPED.get():
        return tensor
    with no_grad():
        return tensor.copy_(Tensor(np.eye(rows, columns) * scale).to(tensor.dtype))


STACK_INITS = ("uniform", "xavier", "he", "orthogonal", "identity")


def _layer_of(name: str) -> int:
    """The k of ``..._l{k}...``."""
    return int(name.rsplit("_l", 1)[1].split("_")[0])


def stack_(
    parameters: Mapping[str, Tensor],
    gates: Sequence[str],
    start: str = "uniform",
    *,
    scale: float = 1.0,
    generator: Generator,
) -> None:
    """Start values of a recurrent stack, each gate's block of rows on its own.

    ======== ============================ ================================= ======
    start    weight_hh (IndRNN: weight_u) other weights                     biases
    ======== ============================ ================================= ======
    uniform  U(-1/sqrt(H), 1/sqrt(H))     the same                          the same
    xavier   Xavier uniform               Xavier uniform                    0
    he       He uniform                   He uniform                        0
    orthogonal `scale` times orthogonal   Xavier uniform                    0
    identity `scale` times the identity   N(0, 0.001^2) (Le et al. 2015)    0
    ======== ============================ ================================= ======

    Args:
        parameters: by the engine's names (``weight_hh_l0``, ...).
        gates: the gate letters of each layer ("ifgo", "rzn", "h", ...).
        start: one of the rows.
        scale: of weight_hh, with "orthogonal" and "identity".
        generator: draws, in the order of the parameters.

    Raises:
        ValueError: an unknown `start`; a `scale` that is not finite, or that `start` does not read.
    """
    if start not in STACK_INITS:
        raise ValueError(f"[init] start: expected {' | '.join(STACK_INITS)}, got {start!r}")
    if real("init", "scale", scale) != 1 and start not in ("orthogonal", "identity"):
        raise ValueError(message("init", "scale", f"1 with {start}", str(scale), "orthogonal and identity read it"))
    if _SKIPPED.get():
        return
    for name, parameter in parameters.items():
        letters = gates[_layer_of(name)]
        per_gate = name.startswith(("weight_ih", "weight_hh", "weight_delay", "bias_ih", "bias_hh"))
        hidden = parameter.shape[0] // (len(letters) if per_gate else 1)
        if start == "uniform":
            width = parameter.shape[-1] if name.startswith("weight_peephole") else hidden
            uniform_(parameter, -1.0 / math.sqrt(width), 1.0 / math.sqrt(width), generator=generator)
        elif name.startswith("weight_u") and start == "identity":
            constant_(parameter, scale)
        elif parameter.ndim != 2 and not name.startswith("weight_u"):
            zeros_(parameter)
        elif name.startswith(("weight_peephole", "weight_u")):
            width = parameter.shape[-1]
            uniform_(parameter, -1.0 / math.sqrt(width), 1.0 / math.sqrt(width), generator=generator)
        else:
            for first in range(0, parameter.shape[0], hidden):
                block = Tensor(np.zeros((hidden, parameter.shape[1])), dtype=parameter.dtype)
                _draw_block(block, start, name.startswith("weight_hh"), scale, generator)
                parameter.detach()[first : first + hidden] = block


def _draw_block(block: Tensor, start: str, recurrent: bool, scale: float, generator: Generator) -> None:
    if recurrent and start == "identity":
        identity_(block, scale)
    elif recurrent and start == "orthogonal":
        orthogonal_(block, scale, generator=generator)
    elif start == "identity":
        normal_(block, 0.0, 0.001, generator=generator)
    elif start == "he":
        kaiming_uniform_(block, generator=generator)
    else:
        xavier_uniform_(block, generator=generator)


def gate_biases_(
    parameters: Mapping[str, Tensor],
    gates: Sequence[str],
    *,
    forget_bias: float | None = None,
    chrono: float | None = None,
    generator: Generator,
) -> None:
    """Biases of the gates that decide how long a unit remembers; bias_hh of these gates becomes 0.

    Args:
        parameters: by the engine's names.
        gates: the gate letters of each layer.
        forget_bias: the forget gate's bias of every LSTM layer.
        chrono: T_max > 2; for LSTMs b_f = log(u), b_i = -b_f, for GRUs b_z = log(u) (z keeps the old state), with
            u from U[1, T_max - 1]: dependencies of up to T_max steps (Tallec & Ollivier 2018, equation 16).
        generator: for chrono.

    Raises:
        ValueError: both, no biases, no layer with such a gate, or T_max too small.
    """
    if forget_bias is not None and chrono is not None:
        raise ValueError("[init] chrono: expected None beside forget_bias, got a number; both set the forget gates")
    if forget_bias is not None:
        real("init", "forget_bias", forget_bias)
    if chrono is not None and not real("init", "chrono", chrono) > 2:
        raise ValueError(f"[init] chrono: expected a number of steps above 2, got {chrono}")
    if _SKIPPED.get():
        return
    argument = "forget_bias" if chrono is None else "chrono"
    done = False
    for name, parameter in parameters.items():
        if not name.startswith("bias_ih"):
            continue
        letters, hidden = gates[_layer_of(name)], parameter.shape[0] // len(gates[_layer_of(name)])
        keeps = {"ifgo": "f", "rzn": "z"}.get(letters, "")  # the gate that keeps the old state
        for gate in keeps if chrono is not None or keeps == "f" else "":
            other = parameters[name.replace("bias_ih", "bias_hh")].detach()
            span = slice(letters.index(gate) * hidden, (letters.index(gate) + 1) * hidden)
            value = Tensor(np.full(hidden, forget_bias or 0.0), dtype=parameter.dtype)
            if chrono is not None:
                value = uniform_(value, 1.0, chrono - 1.0, generator=generator).log()
            parameter.detach()[span] = value
            other[span] = 0.0
            done = True
            if chrono is not None and gate == "f" and "i" in letters:
                span = slice(letters.index("i") * hidden, (letters.index("i") + 1) * hidden)
                parameter.detach()[span] = -value
                other[span] = 0.0
    if not done:
        needed = "a forget gate" if chrono is None else "a forget or update gate"
        raise ValueError(f"[init] {argument}: expected None, since no layer has {needed} with a bias, got a number")
