"""What ``rnncore predict`` is told about searching or drawing texts, as arguments of the models that write them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from rnncore._messages import message
from rnncore.beam import Sampling

_SEARCH = {"beams": "beams", "length-penalty": "alpha"}
_DRAW = {"temperature": "temperature", "top-k": "top_k", "top-p": "top_p"}
_BOTH = {"texts": "top", "prefix": "prefix", "stop": "stop"}
SEARCH_OPTIONS = (*_SEARCH, *_DRAW, "seed", *_BOTH)


def refuse_both(operation: str, options: Collection[str], search: Collection[str], draw: Collection[str]) -> None:
    """Of the options that were given, some search for texts and others draw them.

    Raises:
        ValueError: there are some of both.
    """
    given = [[name for name in options if name in names] for names in (search, draw)]
    if all(given):
        found = " and ".join(f"--{name}" for names in given for name in names)
        listed = [" and ".join(f"--{name}" for name in search), " or ".join(f"--{name}" for name in draw)]
        expected = ", or ".join(listed)
        raise ValueError(message(operation, "options", expected, found, "texts are searched for or drawn"))


class Searching:
    """How texts that come one after another are found.

    Args:
        options: some of `SEARCH_OPTIONS`; one of temperature, top-k and top-p means drawing.

    Raises:
        ValueError: options of searching and of drawing together, or a seed where nothing is drawn.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._search = {to: options[name] for name, to in _SEARCH.items() if name in options}
        self._both = {to: options[name] for name, to in _BOTH.items() if name in options}
        drawn = {to: options[name] for name, to in _DRAW.items() if name in options}
        ways = " or ".join(f"--{name}" for name in _DRAW)
        refuse_both("predict", options, _SEARCH, _DRAW)
        if "seed" in options and not drawn:
            raise ValueError(message("predict", "--seed", f"beside {ways}", "alone", "a search draws nothing"))
        self._sampling = Sampling(**drawn, seed=options.get("seed", 0)) if drawn else None

    def of(self, number: int) -> dict[str, Any]:
        """The keyword arguments for texts from `number` on, counted from 0."""
        if self._sampling is not None:
            return {"sampling": replace(self._sampling, first=number), **self._both}
        return {**self._search, **self._both}
