"""Sequential and ModuleList. Their modules are attributes named "0", "1", ..., as in PyTorch's state_dict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rnncore._messages import message
from rnncore.nn.module import Module


def _checked(operation: str, module: Any) -> Module:
    if isinstance(module, Module):
        return module
    hint = "give the modules one by one: Sequential(a, b)" if isinstance(module, list | tuple) else ""
    raise TypeError(message(operation, "modules", "an nn.Module", repr(module), hint))


class ModuleList(Module):
    """A list of modules that registers them.

    >>> from rnncore import nn
    >>> [name for name, _ in nn.ModuleList([nn.Linear(2, 2, bias=False)]).named_parameters()]
    ['0.weight']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Adds a module at the end."""
        setattr(self, str(len(self)), _checked("module list", module))
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Adds modules at the end."""
        for module in modules if isinstance(modules, Iterable) else (modules,):
            self.append(module)
        return self

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]


class Sequential(Module):
    """Modules called one after the other, each on the output of the one before."""

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            setattr(self, str(i), _checked("sequential", module))

    def forward(self, input: Any) -> Any:
        for module in self.children():
            input = module(input)
        return input

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]
