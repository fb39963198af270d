"""The command line: ``rnncore train lm``, ``eval``, ``sample``, ``info``, ``plot``, ``demo``.

Only Typer is imported here; engine, data and models come with the command that needs them, so that ``--help`` is quick.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``rnncore`` command."""
    from rnncore.cli.app import run

    run()


__all__ = ["main"]
