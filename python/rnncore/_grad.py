"""Switching the tape on and off for a block or a function, on the calling thread."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from rnncore import _core

_F = TypeVar("_F", bound=Callable[..., Any])


class _GradMode:
    """Sets grad mode on entry and restores it on exit; nests, and decorates functions."""

    _enabled: bool

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(_core.grad_enabled())
        _core.set_grad_enabled(self._enabled)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _core.set_grad_enabled(self._previous.pop())

    def __call__(self, function: _F) -> _F:
        mode = type(self)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with mode():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(_GradMode):  # noqa: N801 (PyTorch's name)
    """Operations in this block are not recorded, and parameters may be written in place.

    >>> import rnncore
    >>> w = rnncore.Tensor([1.0, 2.0], requires_grad=True)
    >>> with rnncore.no_grad():
    ...     (w * 2).requires_grad
    False
    """

    _enabled = False


class enable_grad(_GradMode):  # noqa: N801 (PyTorch's name)
    """Records again inside a `no_grad` block."""

    _enabled = True


def is_grad_enabled() -> bool:
    """Whether operations on this thread are recorded."""
    return _core.grad_enabled()
