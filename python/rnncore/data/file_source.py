"""What descriptions of a run's files share: dataclasses that go through JSON and come back whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from rnncore._messages import message

S = TypeVar("S", bound="FileSource")


class FileSource:
    """Base of such dataclasses; the training data's path is their field `train`."""

    train: str

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def describe(self) -> str:
        """The training path."""
        return self.train

    @classmethod
    def from_json(cls: type[S], value: Mapping[str, Any]) -> S:
        """Rebuild what `to_json` gave.

        Raises:
            ValueError: unknown or missing names.
        """
        names = {one.name for one in fields(cls)}  # type: ignore[arg-type]
        if set(value) != names:
            raise ValueError(message("data source", "fields", ", ".join(sorted(names)), ", ".join(sorted(value))))
        return cls(**value)
