"""Module and Parameter. A module's parameters, buffers and children are simply its attributes of those types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from rnncore._core import Generator, Tensor
from rnncore._grad import no_grad
from rnncore._messages import message
from rnncore._tensor import fresh_generator

_M = TypeVar("_M", bound="Module")


class Parameter(Tensor):
    """A tensor that a module learns. Registered by assigning it to an attribute of the module.

    Args:
        data: Values (copied).
        requires_grad: Whether gradients are gathered. Default: True.
    """

    def __init__(self, data: Any, requires_grad: bool = True, dtype: str | None = None) -> None:
        super().__init__(data, requires_grad, dtype)


class Incompatible(NamedTuple):
    """What `load_state_dict(strict=False)` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of everything with parameters. Subclasses assign parameters and modules, and define `forward`.

    >>> import rnncore
    >>> from rnncore import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(4, 3)
    ...     def forward(self, x):
    ...         return self.hidden(x).tanh()
    >>> [name for name, _ in Net().named_parameters()]
    ['hidden.weight', 'hidden.bias']
    >>> Net()(rnncore.zeros(2, 4)).shape
    (2, 3)
    """

    training: bool = True
    forward: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # Structure -------------------------------------------------------------------------------------------
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules with their attribute names, in the order of assignment."""
        for name, value in list(vars(self).items()):  # the caller may switch modes between two of them
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """Direct submodules."""
        for _, child in self.named_children():
            yield child

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module ("" or `prefix`) and all below it, each once."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.named_children():
            yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def _named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers under every name they have (a tied parameter has several)."""
        for path, module in self._walk(prefix):
            buffers = vars(module).get("_buffer_names", ())
            for name, value in vars(module).items():
                if isinstance(value, Parameter) or name in buffers:
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names, each once."""
        seen: set[int] = set()
        for name, value in self._named_tensors(prefix):
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        """Parameters, each once, in the order of assignment."""
        for _, parameter in self.named_parameters():
            yield parameter

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """The same as assigning to the attribute `name`."""
        setattr(self, name, parameter)

    def register_buffer(self, name: str, value: Tensor) -> None:
        """A tensor that belongs to the state but is not learnt."""
        vars(self).setdefault("_buffer_names", set()).add(name)
        setattr(self, name, value)

    # Modes -----------------------------------------------------------------------------------------------
    def train(self: _M, mode: bool = True) -> _M:
        """Switches dropout on (off with mode=False) in this module and all below it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: _M) -> _M:
        """The same as train(False)."""
        return self.train(False)

    def apply(self: _M, function: Callable[[Module], Any]) -> _M:
        """Calls `function` on every module, children first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def zero_grad(self) -> None:
        """Clears every parameter's grad."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self: _M, requires_grad: bool = True) -> _M:
        """Freezes (False) or unfreezes every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    # State -----------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by dotted name. The tensors share memory with the module: clone() to keep them."""
        return {name: value.detach() for name, value in self._named_tensors()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Incompatible:
        """Copies values into parameters and buffers. Nothing is changed if there is an error.

        Args:
            state_dict: Tensors or arrays (NumPy, torch, ...) by dotted name; floats are cast to the parameter's dtype.
            strict: Whether missing and unexpected names are errors. Default: True. Shapes are always checked.

        Returns:
            The names that were missing and those that were not expected.

        Raises:
            ValueError: listing every missing, unexpected and mis-shaped name.
        """
        own = dict(self._named_tensors())
        given = {name: _as_source(value) for name, value in state_dict.items()}
        missing = [name for name in own if name not in given]
        unexpected = [name for name in given if name not in own]
        problems = [
            f"{name}: expected shape {value.shape}, got {given[name].shape}"
            for name, value in own.items()
            if name in given and value.shape != given[name].shape
        ]
        if strict:
            problems += [f"missing {name}" for name in missing] + [f"unexpected {name}" for name in unexpected]
        if problems:
            raise ValueError(f"[load_state_dict] {type(self).__name__}: " + "; ".join(problems))
        with no_grad():
            for name, value in own.items():
                if name in given:
                    value.copy_(given[name])
        return Incompatible(missing, unexpected)

    def extra_repr(self) -> str:
        """The arguments shown by repr()."""
        return ""

    def __repr__(self) -> str:
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in children]
        return f"{type(self).__name__}({self.extra_repr()}\n" + "\n".join(lines) + "\n)"


def _as_source(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return Tensor(value.detach() if hasattr(value, "detach") else value)  # a torch parameter must leave its own tape


def generator_or_fresh(generator: Generator | None) -> Generator:
    """The generator passed, or a new one seeded by the operating system."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(message("module", "generator", "a Generator or None", repr(generator)))
    return fresh_generator() if generator is None else generator
