"""What a library must offer to be measured."""

from __future__ import annotations

from collections.abc import Callable

from rncompare.cases import Case

Run = Callable[[], None]


class UnsupportedError(Exception):
    """The library has nothing of the kind: no failure, the row just has no number for it."""


class Peer:
    """What a library must offer: its name and version, and a closure that runs a case once."""

    name = ""

    def version(self) -> str:
        """The library's version and what else identifies the build."""
        raise NotImplementedError

    def prepare(self, case: Case) -> Run:
        """Builds parameters and inputs for `case` from its seed and returns one repetition of the work.

        Raises:
            UnsupportedError: the library cannot do this kind of work.
        """
        raise NotImplementedError
