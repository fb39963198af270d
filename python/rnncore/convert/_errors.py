"""The errors of conversions, in the one form of the project, with the file and the place in it named."""

from __future__ import annotations

import importlib
from typing import Any

from rnncore._messages import message


class ConversionError(RuntimeError):
    """A model that cannot be converted: damaged, incomplete, or with something that the other side cannot express."""


def refusal(operation: str, place: str, expected: str, got: str, hint: str = "") -> ConversionError:
    """The error to raise: ``[operation] place: expected E, got G; hint``."""
    return ConversionError(message(operation, place, expected, got, hint))


def need(operation: str, package: str, extra: str) -> Any:
    """The optional package, imported.

    Raises:
        ImportError: it is missing, in one line that names the extra.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        hint = f"pip install 'rnncore[{extra}]'" if extra else f"pip install {package}"
        raise ImportError(message(operation, package, "the package", "none installed", hint)) from None
