"""`watched`: a model whose recurrent layers show every state, and the loss's gradient with respect to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore import RecurrentSpec, Tensor, _core, nn
from rnncore._messages import message

Array = NDArray[Any]


@dataclass(frozen=True)
class WatchedLayer:
    """One layer in one direction, as the last call left it; index t of arrays is the place in time either way.

    Attributes:
        name: "rnn.l0", "rnn.l1_reverse": where the stack stands in the model, the layer, the direction.
        spec: of this layer alone.
        gates: letters of its gate blocks, as "ifgo".
        reverse: whether it reads from the last step to the first.
        grouped: whether its units run in groups of their own periods (`group_periods`).
    """

    name: str
    spec: RecurrentSpec
    gates: str
    reverse: bool
    grouped: bool
    _hidden_size: int = field(repr=False)
    _parts: dict[str, Tensor] = field(repr=False)
    _parameters: dict[str, Tensor] = field(repr=False)

    @property
    def x(self) -> Array:
        """(T, N, I): what it read."""
        return self._value("x")

    @property
    def h(self) -> Array:
        """(T, N, R): h leaving each step; R is H, or proj_size."""
        return self._value("h")

    @property
    def h_0(self) -> Array:
        """(N, R): h entering its first step."""
        return self._value("h_0")

    @property
    def c(self) -> Array | None:
        """(T, N, H): c leaving each step; None where the cell has none."""
        return self._value("c") if "c" in self._parts else None

    @property
    def c_0(self) -> Array | None:
        """(N, H): c entering its first step."""
        return self._value("c_0") if "c_0" in self._parts else None

    @property
    def past(self) -> Array | None:
        """(T, D, N, R): with delays, the D = d_max - 1 states before h leaving each step, latest first; else None."""
        return self._value("past") if "past" in self._parts else None

    @property
    def past_0(self) -> Array | None:
        """(D, N, R): the same entering its first step."""
        return self._value("past_0") if "past_0" in self._parts else None

    @property
    def running(self) -> Array:
        """(T, N, H), bool: False where a unit keeps its state.

        Beyond a row's length, and between the steps at which the layer (`period`) or the unit's group
        (`group_periods`) runs.
        """
        if "running" in self._parts:
            return self._value("running").astype(bool)
        return np.ones((*self.h.shape[:2], self._hidden_size), dtype=bool)

    @property
    def begins(self) -> Array:
        """(T, N), bool: where the step starts from the initial state (`reset_mask`), in the order of reading."""
        return self._value("begins").astype(bool) if "begins" in self._parts else np.zeros(self.h.shape[:2], dtype=bool)

    @property
    def has_gates(self) -> bool:
        """Whether `gate_values` can be read: not with layer normalisation."""
        return "gates" in self._parts

    @property
    def gate_values(self) -> Array:
        """(T, N, G, H): gates and candidates after their functions; zeros where the layer does not run.

        Raises:
            ValueError: the layer normalises, and does not keep them.
        """
        if not self.has_gates:
            expected = "a layer without layer_norm"
            raise ValueError(message("inspect", self.name, expected, "one with it", "its gates are not kept"))
        values = self._value("gates")
        return values.reshape(*values.shape[:2], len(self.gates), -1)

    @property
    def dh(self) -> Array:
        """(T, N, R): dL/dh_t, on all paths: through its output at t, and through all later steps.

        Raises:
            ValueError: backward() has not been called.
        """
        return self._gradient("h_added")

    @property
    def dc(self) -> Array | None:
        """(T, N, H): dL/dc_t with h_t held, so through later steps alone; None where the cell has no c.

        (h_t, c_t) is a state of two parts, and this is the error that arrives along the cell's own line (the constant
        error carousel of Hochreiter & Schmidhuber 1997). What reaches c_t through h_t of the same step is in `dh`.
        """
        return self._gradient("c_added") if "c_added" in self._parts else None

    def parameters(self) -> list[Tensor]:
        """The layer's weights in float64, as a stack of this layer alone takes them."""
        place, _, second = self.name.rpartition(".")[2].partition("_")  # l0, l1_reverse
        names = [name.replace("_l0", f"_{place}") + "_reverse" * bool(second) for name, _, _ in self.spec.parameters()]
        return [self._parameters[name].detach().to("float64") for name in names]

    def _value(self, part: str) -> Array:
        return np.array(self._parts[part].numpy())

    def _gradient(self, part: str) -> Array:
        grad = self._parts[part].grad
        if grad is None:
            hint = "call backward() on a loss that depends on this call"
            raise ValueError(message("inspect", self.name, "a gradient", "none", hint))
        return np.array(grad.numpy())


class Watch:
    """What `watched` gives: the layers of the last call of each recurrent stack in the model."""

    def __init__(self, stacks: dict[str, tuple[nn.Module, _core.Probe]]) -> None:
        self._stacks = stacks

    @property
    def layers(self) -> list[WatchedLayer]:
        """All layers and directions, in the model's order, bottom first.

        Raises:
            ValueError: no stack has been called.
        """
        found = [layer for name, (stack, probe) in self._stacks.items() for layer in _layers_of(name, stack, probe)]
        if not found:
            raise ValueError(message("inspect", "model", "a call inside `with watched(model)`", "none"))
        return found

    def layer(self, name: str) -> WatchedLayer:
        """The layer of that name.

        Raises:
            ValueError: there is none; the message lists them.
        """
        layers = self.layers
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(message("inspect", "layer", " | ".join(layer.name for layer in layers), repr(name)))


@contextmanager
def watched(model: nn.Module) -> Iterator[Watch]:
    """Inside the block, calls of the model's recurrent stacks show their states, step by step.

    The model is in evaluation mode (no dropout) and its parameters take no gradients; both are restored. Forward has
    the bits it has without watching; it is slower, as each step of each layer is a node of the tape.

    Args:
        model: a module with `nn.RNN`, `nn.LSTM`, `nn.GRU`, `nn.MGU`, `nn.IndRNN` or `nn.Recurrent` inside, or one.

    Raises:
        TypeError: `model` is no module.
        ValueError: no recurrent stack inside.

    >>> import rnncore
    >>> from rnncore import nn
    >>> lstm = nn.LSTM(3, 5, num_layers=2)
    >>> with watched(lstm) as watch:
    ...     output, _ = lstm(rnncore.zeros(7, 2, 3))
    ...     (output**2).sum().backward()
    >>> [(layer.name, layer.dh.shape) for layer in watch.layers]
    [('l0', (7, 2, 5)), ('l1', (7, 2, 5))]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(message("inspect", "model", "a module", type(model).__name__))
    stacks = {name: module for name, module in model.named_modules() if hasattr(module, "probe")}
    if not stacks:
        raise ValueError(message("inspect", "model", "a recurrent stack inside", type(model).__name__))
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    before = {name: vars(stack).get("probe") for name, stack in stacks.items()}
    probes = {name: (stack, _core.Probe()) for name, stack in stacks.items()}
    try:
        model.eval()
        model.requires_grad_(False)
        for stack, probe in probes.values():
            vars(stack)["probe"] = probe
        yield Watch(probes)
    finally:
        for name, stack in stacks.items():
            vars(stack)["probe"] = before[name]
        for parameter, requires_grad in wanted:
            parameter.requires_grad = requires_grad
        for module, training in modes:
            module.training = training


def _layers_of(name: str, stack: nn.Module, probe: _core.Probe) -> Iterator[WatchedLayer]:
    spec: RecurrentSpec = stack.spec  # type: ignore[attr-defined]
    whole = json.loads(_core.recurrent_spec_json(spec))
    directions = 2 if spec.bidirectional else 1
    for index, parts in enumerate(probe.layers):
        k, second = divmod(index, directions)
        layer = whole["layers"][k]
        alone = {"input_size": parts["x"].shape[2], "layers": [layer], "bias": spec.bias, "bidirectional": False}
        yield WatchedLayer(
            name=f"{name}.l{k}" + "_reverse" * second if name else f"l{k}" + "_reverse" * second,
            spec=_core.recurrent_spec(json.dumps({**alone, "dropout": 0.0})),
            gates=_core.gate_letters(layer["cell"], layer.get("options")),
            reverse=second == 1 or whole.get("reverse", False),
            grouped=bool((layer.get("options") or {}).get("group_periods")),
            _hidden_size=layer["hidden_size"],
            _parts=parts,
            _parameters=dict(vars(stack)),
        )
