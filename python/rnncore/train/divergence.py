"""NaN and Inf: found where they arise, with the name of the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnncore import Tensor
from rnncore._messages import message
from rnncore.nn import Module


class TrainingDivergedError(FloatingPointError):
    """A NaN, an Inf or a number that has run away, in loss, gradient or parameter; the checkpoint before it is kept."""


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds a NaN or an Inf, or None."""
    for name, tensor in tensors.items():
        if not np.isfinite(tensor.numpy()).all():
            return name
    return None


def blame(model: Module, loss: Tensor | None = None) -> str:
    """The first parameter that is not finite, else the first with such a gradient, else the one that has run away.

    `loss` is walked back before gradients are looked at.
    """
    named = dict(model.named_parameters())
    bad = first_not_finite({name: parameter.detach() for name, parameter in named.items()})
    if bad is None:
        if loss is not None:
            loss.backward()
        gradients = {name: parameter.grad for name, parameter in named.items()}
        bad = first_not_finite({name: gradient for name, gradient in gradients.items() if gradient is not None})
    return bad or _largest(named)


def _largest(parameters: Mapping[str, Tensor]) -> str:
    """The name of the parameter with the largest number: where everything is finite, the one that has run away."""
    return max(parameters, key=lambda name: float(np.abs(parameters[name].detach().numpy()).max(initial=0)))


def divergence(step: int, parameter: str, what: str, lr: float, kept: Path | None) -> TrainingDivergedError:
    """The error for update number `step`; `kept` is the checkpoint that stays."""
    where = "no run folder, so nothing was saved" if kept is None else f"the last good checkpoint is kept: {kept}"
    hint = f"try a smaller learning rate than {lr:g} or a smaller --clip; {where}"
    return TrainingDivergedError(message("train", f"step {step}, {parameter}", "finite numbers", what, hint))
