"""Chain: layers one after the other, recurrent ones among them; and what makes one vector of a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore import _core, nn
from rnncore._core import Tensor
from rnncore._messages import message
from rnncore.nn import functional as F

CLUSTERED = (nn.AdaptiveLogSoftmaxWithLoss, nn.ClassSoftmax)  # in a chain: all log-probabilities (..., V)
RECURRENT = (nn.RNN, nn.LSTM, nn.GRU, nn.MGU, nn.IndRNN, nn.Recurrent)


class Chain(nn.Module):
    """Layers called one after the other by name. Unlike `nn.Sequential` it takes the output of recurrent layers.

    Args:
        layers: Modules by name, first to last. A name may hold dots: "encoder.rnn".

    Attributes:
        facts: What else belongs to the model, as JSON: "vocabulary", "labels", ... Empty unless somebody sets it.
        kind: Of the model file that it came from: "classifier", ...; None: of none.

    Call with the first layer's input and optionally `state`, a dict by layer name as `forward_with_state` returns it;
    returns the last layer's output.

    >>> import rnncore
    >>> chain = Chain({"rnn": nn.GRU(3, 5), "head": nn.Linear(5, 2)})
    >>> chain(rnncore.zeros(7, 1, 3)).shape
    (7, 1, 2)
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.facts: dict[str, Any] = {}
        self.kind: str | None = None
        for name, layer in layers.items():
            setattr(self, name, layer)

    def layers(self) -> dict[str, nn.Module]:
        """The modules by name, first to last."""
        return dict(self.named_children())

    def forward(self, input: Any, state: Mapping[str, Any] | None = None) -> Any:
        """The output alone."""
        return self.forward_with_state(input, state)[0]

    def forward_with_state(self, input: Any, state: Mapping[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The output, and the state of each recurrent layer after the last step."""
        before = dict(state or {})
        after: dict[str, Any] = {}
        for name, layer in self.named_children():
            if isinstance(layer, RECURRENT):
                input, after[name] = layer(input, before.pop(name, None))
            elif isinstance(layer, CLUSTERED):
                rows = layer.log_prob(input.reshape(-1, layer.in_features))
                input = rows.reshape(*input.shape[:-1], layer.n_classes)
            else:
                input = layer(input)
        if before:
            raise ValueError(f"[chain] state: expected names among {list(after)}, got {list(before)}")
        return input, after


class LastStep(nn.Module):
    """Of the outputs of a recurrent layer the last step, of its reverse direction the first: (T, N, D*H) -> (N, D*H).

    Args:
        directions: D, 1 or 2.
        batch_first: Whether the input is (N, T, D*H).
    """

    def __init__(self, directions: int = 1, *, batch_first: bool = False) -> None:
        super().__init__()
        self.directions = directions
        self.batch_first = batch_first

    def forward(self, input: Tensor) -> Tensor:
        """The last step."""
        x = input.transpose(0, 1) if self.batch_first else input
        if self.directions == 1:
            return x[-1]
        half = x.shape[2] // 2
        return _core.cat([x[-1, :, :half], x[0, :, half:]], 1)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.directions}, batch_first={self.batch_first}"


class Pool(nn.Module):
    """The maximum or the mean over time, feature by feature: (T, N, D) -> (N, D).

    Args:
        kind: "max" or "mean".
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind not in ("max", "mean"):
            raise ValueError(message("pool", "kind", "max | mean", repr(kind)))
        self.kind = kind

    def forward(self, input: Tensor) -> Tensor:
        """Over all T steps."""
        lengths = np.full(input.shape[1], input.shape[0], dtype=np.int64)
        return (F.max_over_time if self.kind == "max" else F.mean_over_time)(input, lengths)

    def extra_repr(self) -> str:
        """The arguments."""
        return repr(self.kind)


def leaves_of(module: nn.Module, prefix: str = "") -> dict[str, nn.Module]:
    """The layers of chains, sequentials and language models by dotted name, in the order in which they are called.

    A single layer stands under `prefix`.
    """
    from rnncore.models import LanguageModel

    if isinstance(module, LanguageModel):
        names = (
            ("embedding", "rnn", "head") if module.projection is None else ("embedding", "rnn", "projection", "head")
        )
        children: dict[str, nn.Module] = {name: getattr(module, name) for name in names}
    elif isinstance(module, Chain | nn.Sequential):
        children = dict(module.named_children())
    else:
        return {prefix: module}
    leaves: dict[str, nn.Module] = {}
    for name, child in children.items():
        leaves.update(leaves_of(child, f"{prefix}.{name}" if prefix else name))
    return leaves
