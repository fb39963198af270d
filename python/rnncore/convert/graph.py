"""Graph: what an imported file becomes: named nodes over named values, run in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rnncore import nn, no_grad
from rnncore._core import Tensor
from rnncore._messages import message
from rnncore.convert._errors import refusal

if TYPE_CHECKING:
    from rnncore.convert.chain import Chain

Array = npt.NDArray[Any]
# Floats live in tensors (on the tape where they need gradients), everything else in arrays; None: an absent input.
Value: TypeAlias = "Tensor | Array"
Function: TypeAlias = "Callable[[Sequence[Any]], Sequence[Any]]"
FAULTS = (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError, ArithmeticError, RuntimeError)


def as_value(data: Any) -> Value:
    """Floats as a tensor, anything else as an array."""
    if isinstance(data, Tensor):
        return data if data.dtype.startswith("float") else data.numpy()
    array = np.asarray(data)
    return Tensor(array) if array.dtype in (np.float32, np.float64) else array


def as_array(value: Any) -> Array:
    """The numbers of a value."""
    return value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)


@dataclass
class Node:
    """One operation: `function` maps the values of `inputs` ("" is None) to those of `outputs` ("" is dropped)."""

    name: str
    kind: str
    inputs: list[str]
    outputs: list[str]
    function: Function
    options: dict[str, Any] = field(default_factory=dict)  # the file's attributes
    plain: list[nn.Module] | None = None  # the layers that do the same but for the order of axes; None: none are known

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.kind})"


@dataclass(frozen=True)
class Port:
    """An input of a graph: name, dtype ("any": numbers of any), and its axes: a size, or a name or None for any."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    def accept(self, value: Any) -> Value:
        """The value in the declared dtype.

        Raises:
            TypeError: another kind of number.
            ValueError: another shape.
        """
        array = np.asarray(value.detach().numpy() if isinstance(value, Tensor) else value)
        if self.dtype == "any":
            self._check_shape(array)
            return value if isinstance(value, Tensor) else as_value(array)
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise TypeError(message("run", self.name, self.dtype, str(array.dtype)))
        self._check_shape(array)
        keeps = isinstance(value, Tensor) and value.dtype == self.dtype
        return value if keeps else as_value(array.astype(self.dtype, copy=False))

    def _check_shape(self, array: Array) -> None:
        if self.shape is not None and not _fits(array.shape, self.shape):
            axes = ", ".join("any" if size is None else str(size) for size in self.shape)
            raise ValueError(message("run", self.name, f"shape ({axes})", str(array.shape)))


def _fits(shape: Sequence[int], wanted: Sequence[int | str | None]) -> bool:
    return len(shape) == len(wanted) and all(
        size == want for size, want in zip(shape, wanted, strict=True) if isinstance(want, int)
    )


class Layers(nn.Module):
    """Modules and parameters under the names that a file gives them."""

    def put(self, name: str, value: nn.Module | nn.Parameter) -> None:
        """Registers `value`; a name that a module needs for itself gets an underscore."""
        while name in vars(self) or hasattr(nn.Module, name):
            name += "_"
        setattr(self, name, value)


class Graph(nn.Module):
    """A model read from a file of another framework. `run` takes and returns arrays.

    `layers` holds its layers as modules of `nn` under the file's names, `weights` what other nodes use; both are
    parameters of the graph: it can be trained further as far as its nodes are differentiable.

    Args:
        origin: The file, for messages.
        inputs: What `run` takes, in order.
        outputs: Names of the values that it returns.
        optional: Values of inputs that need not be given, by name.
    """

    def __init__(
        self, origin: str, inputs: Sequence[Port], outputs: Sequence[str], optional: Mapping[str, Value]
    ) -> None:
        super().__init__()
        self.origin = origin
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.nodes: list[Node] = []
        self.constants: dict[str, Value] = dict(optional)
        self.layers = Layers()
        self.weights = Layers()

    def run(self, *arrays: Any, **named: Any) -> list[Array]:
        """The outputs for these inputs, given in order or by name.

        Args:
            arrays: Arrays or tensors; the shapes are the file's.
            named: The same by name.

        Returns:
            One array for each of `outputs`.

        Raises:
            ValueError, TypeError: naming the input that is missing, unknown, or has the wrong shape or dtype.
            ConversionError: naming the node that failed.

        Without dropout and without a tape.
        """
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with no_grad():
                return [np.array(as_array(value)) for value in self.forward(*arrays, **named)]
        finally:
            for module, training in modes:
                module.training = training

    def forward(self, *values: Any, **named: Any) -> tuple[Any, ...]:
        """As `run`, with tensors, and on the tape where gradients are recorded."""
        known: dict[str, Any] = dict(self.constants)
        known.update(self._accepted(values, named))
        last = self._last_uses()
        for i, node in enumerate(self.nodes):
            results = self.apply_node(node, [known[name] if name else None for name in node.inputs])
            known.update((name, value) for name, value in zip(node.outputs, results, strict=False) if name)
            for name in last[i]:
                known.pop(name, None)
        return tuple(known[name] for name in self.outputs)

    def apply_node(self, node: Node, values: Sequence[Any]) -> Sequence[Any]:
        """The outputs of one node; what fails names it."""
        try:
            results = node.function(values)
        except FAULTS as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise refusal("run", self.origin, f"{node} to compute", reason) from error
        if len(results) < len([name for name in node.outputs if name]):
            raise refusal("run", self.origin, f"{len(node.outputs)} outputs of {node}", str(len(results)))
        return results

    def _accepted(self, values: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Value]:
        names = [port.name for port in self.inputs]
        if len(values) > len(names):
            raise ValueError(message("run", "inputs", f"{len(names)} ({', '.join(names)})", str(len(values))))
        given = dict(zip(names, values, strict=False))
        wrong = [name for name in named if name not in names or name in given]
        given.update(named)
        missing = [name for name in names if name not in given and name not in self.constants]
        if wrong or missing:
            raise ValueError(message("run", "inputs", ", ".join(names), ", ".join(given) or "none"))
        return {port.name: port.accept(given[port.name]) for port in self.inputs if port.name in given}

    def _last_uses(self) -> list[list[str]]:
        """Per node the values that nothing after it reads."""
        seen = set(self.outputs) | set(self.constants)
        last: list[list[str]] = []
        for node in reversed(self.nodes):
            names = [name for name in {*node.inputs, *node.outputs} if name and name not in seen]
            last.append(names)
            seen.update(names)
        return last[::-1]

    def chain(self) -> Chain:
        """The graph as a `Chain` of its layers, which can be trained, exported and saved as a model file.

        Raises:
            ConversionError: the first node that does not belong into a chain, or: the layers found do not compute
                what the graph computes (both are run on random numbers, from a zero state).
        """
        from rnncore.convert._chains import chain_of

        return chain_of(self)

    def extra_repr(self) -> str:
        """File, inputs and outputs."""
        names = ", ".join(port.name for port in self.inputs)
        return f"{self.origin}: {names} -> {', '.join(self.outputs)}; {len(self.nodes)} nodes"


def values_of(values: Iterable[Any]) -> list[Value]:
    """Each as a value."""
    return [as_value(value) for value in values]
