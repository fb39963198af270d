"""Instruments: what happens inside a recurrent network, and to its gradients on their way back through time.

All quantities come from the engine and are exact (no finite differences). Looking changes nothing: parameters, their
gradients, modes and random numbers stay as they are.

>>> import numpy as np
>>> import rnncore
>>> from rnncore import inspect, nn
>>> rnn = nn.RNN(2, 3, nonlinearity="relu", dtype="float64", generator=rnncore.Generator(1))
>>> x = rnncore.randn(20, 4, 2, dtype="float64", generator=rnncore.Generator(2))
>>> [flow] = inspect.gradient_flow(rnn, lambda: (rnn(x)[0][19] ** 2).sum())
>>> flow.name, flow.h_norms.shape
('l0', (20, 4))
>>> bool(flow.h_norms[0].mean() < flow.h_norms[19].mean())
True
"""

from rnncore.inspect.dynamics import (
    RecurrentSpectrum,
    largest_singular_values,
    lyapunov_exponents,
    recurrent_spectra,
    singular_values,
    spectral_radius,
    spectral_radius_by_powers,
    state_jacobian,
    step_jacobian,
)
from rnncore.inspect.flow import LagProfile, LayerFlow, gradient_flow, gradient_lag
from rnncore.inspect.health import (
    Clipping,
    GateUse,
    clipping,
    dead_units,
    gate_use,
    update_ratios,
)
from rnncore.inspect.monitor import Monitor
from rnncore.inspect.saliency import Saliency, gradient_times_input, leave_one_out
from rnncore.inspect.units import (
    UnitScore,
    coloured,
    inside_quotes,
    position_in_line,
    rank_units,
    token_texts,
    unit_activations,
)
from rnncore.inspect.watch import Watch, WatchedLayer, watched

__all__ = [
    "Clipping",
    "GateUse",
    "LagProfile",
    "LayerFlow",
    "Monitor",
    "RecurrentSpectrum",
    "Saliency",
    "UnitScore",
    "Watch",
    "WatchedLayer",
    "clipping",
    "coloured",
    "dead_units",
    "gate_use",
    "gradient_flow",
    "gradient_lag",
    "gradient_times_input",
    "inside_quotes",
    "largest_singular_values",
    "leave_one_out",
    "lyapunov_exponents",
    "position_in_line",
    "rank_units",
    "recurrent_spectra",
    "singular_values",
    "spectral_radius",
    "spectral_radius_by_powers",
    "state_jacobian",
    "step_jacobian",
    "token_texts",
    "unit_activations",
    "update_ratios",
    "watched",
]
